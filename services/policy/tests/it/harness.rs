//! A policy daemon for one test.

use std::time::Duration;

use nova_policy::{Config, PolicyDaemon};
use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::policy_service_client::PolicyServiceClient;
use nova_runtime::testing::{AsCaller, TestServer};
use nova_testkit::soon;
use nova_types::{Clock as _, DecisionId, SystemClock, Timestamp};
use tempfile::TempDir;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

pub(crate) type Client = PolicyServiceClient<InterceptedService<Channel, AsCaller>>;

pub(crate) const ENQUEUE: &str = "nova.queue.v1.QueueService/Enqueue";
pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(crate) struct Policy {
    pub(crate) server: TestServer,
    pub(crate) client: Client,
    folder: TempDir,
}

impl Policy {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "sqlite", config).await
    }

    /// With its state in Redis.
    pub(crate) async fn start_on(store: &str, config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), store, config).await
    }

    async fn start_in(folder: TempDir, store: &str, config: Config) -> Self {
        let builder = TestServer::builder(folder.path()).store(store);
        let server = builder.start::<PolicyDaemon>(config).await.unwrap();
        let client = PolicyServiceClient::new(server.operator());
        Self { server, client, folder }
    }

    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_folder| {}).await
    }

    /// Restarts it; meanwhile something is done in its data folder.
    pub(crate) async fn restart_after(self, meanwhile: impl FnOnce(&std::path::Path)) -> Self {
        let Self { server, client, folder } = self;
        drop(client);
        server.stop().await;
        meanwhile(folder.path());
        Self::start_in(folder, "sqlite", Config::default()).await
    }

    pub(crate) fn as_daemon(&self, name: &str) -> Client {
        PolicyServiceClient::new(self.server.channel_as(&format!("svc/{name}"), &[]))
    }

    pub(crate) async fn put(&mut self, id: &str, rego: &str) -> Result<String, tonic::Status> {
        let module = Some(pb::PolicyModule { id: id.to_owned(), rego: rego.to_owned() });
        Ok(self.client.put_policy(pb::PutPolicyRequest { module }).await?.into_inner().revision)
    }

    pub(crate) async fn status(&self) -> pb::GetPolicyStatusResponse {
        self.client.clone().get_policy_status(pb::GetPolicyStatusRequest {}).await.unwrap().into_inner()
    }

    /// The text of a module as it is active.
    pub(crate) async fn rego(&mut self, id: &str) -> String {
        let request = pb::GetPolicyRequest { module_id: id.to_owned() };
        self.client.get_policy(request).await.unwrap().into_inner().module.unwrap().rego
    }

    pub(crate) async fn check(&mut self, role: &str, method: &str) -> pb::Decision {
        let request = pb::CheckRequest { question: Some(question(role, method)) };
        self.client.check(request).await.unwrap().into_inner().decision.unwrap()
    }

    pub(crate) async fn allows(&mut self, role: &str, method: &str) -> bool {
        self.check(role, method).await.verdict() == pb::Verdict::Allow
    }

    pub(crate) async fn report(&mut self, decisions: Vec<pb::Decision>) -> Result<(), tonic::Status> {
        let request = pb::ReportDecisionsRequest { decisions, dropped: 0 };
        self.client.report_decisions(request).await.map(|_| ())
    }

    pub(crate) async fn list(&self, request: pb::ListDecisionsRequest) -> pb::ListDecisionsResponse {
        self.client.clone().list_decisions(request).await.unwrap().into_inner()
    }
}

pub(crate) fn question(role: &str, method: &str) -> pb::Question {
    pb::Question {
        subject: "spiffe://nova.local/agent/orion".to_owned(),
        roles: vec![role.to_owned()],
        method: method.to_owned(),
        service: "queue".to_owned(),
        credential: pb::Credential::Certificate.into(),
    }
}

/// A decision that some daemon made `age` seconds ago.
pub(crate) fn decision(revision: &str, verdict: pb::Verdict, age: u64) -> pb::Decision {
    let time = SystemClock.now() - Duration::from_secs(age);
    pb::Decision {
        id: DecisionId::new(time).to_string(),
        question: Some(question("agent", ENQUEUE)),
        verdict: verdict.into(),
        why: "because".to_owned(),
        revision: revision.to_owned(),
        time: Some(Timestamp::to_wire(time)),
        elapsed: Some(prost_types::Duration::default()),
        trace_id: TRACE.to_owned(),
    }
}

/// Reason and first field of an error.
pub(crate) fn reason(status: &tonic::Status) -> (tonic::Code, String, String) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let violation = details.bad_request().and_then(|bad| bad.field_violations.first().cloned());
    (status.code(), reason, violation.map(|violation| violation.field).unwrap_or_default())
}

/// Asks until it is so, for a minute at most.
pub(crate) async fn eventually<F: Future<Output = bool>>(so: impl Fn() -> F) {
    soon("it is so", Duration::from_secs(60), || async { so().await.then_some(()) }).await;
}
