//! A lifecycle daemon for one test.

use std::sync::Arc;

use nova_lifecycle::{LifecycleConfig, LifecycleDaemon};
use nova_proto::lifecycle::v1::agent_service_client::AgentServiceClient;
use nova_proto::lifecycle::v1::session_service_client::SessionServiceClient;
use nova_proto::lifecycle::v1::workflow_service_client::WorkflowServiceClient;
use nova_proto::lifecycle::v1::{Agent, RegisterAgentRequest};
use nova_runtime::testing::{AsCaller, TestServer};
use nova_types::{HeldClock, Timestamp};
use tempfile::TempDir;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

pub(crate) type Wire = InterceptedService<Channel, AsCaller>;

/// The daemon, its folder, and the clock that it goes by.
pub(crate) struct Daemon {
    pub(crate) server: TestServer,
    pub(crate) clock: Arc<HeldClock>,
    _folder: TempDir,
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::with(LifecycleConfig { detector_interval_ms: 10, ..LifecycleConfig::default() }).await
    }

    pub(crate) async fn with(config: LifecycleConfig) -> Self {
        Self::over(TempDir::new().unwrap(), config).await
    }

    /// The daemon over what is in a folder.
    pub(crate) async fn over(folder: TempDir, config: LifecycleConfig) -> Self {
        let clock = Arc::new(HeldClock::at(Timestamp::from_micros(1_700_000_000_000_000)));
        let builder = TestServer::builder(folder.path()).clock(clock.clone());
        let server = builder.start::<LifecycleDaemon>(config).await.unwrap();
        Self { server, clock, _folder: folder }
    }

    pub(crate) fn agents(&self) -> AgentServiceClient<Wire> {
        AgentServiceClient::new(self.server.operator())
    }

    pub(crate) fn agents_as(&self, caller: &str) -> AgentServiceClient<Wire> {
        AgentServiceClient::new(self.server.channel_as(caller, &[]))
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Wire> {
        SessionServiceClient::new(self.server.operator())
    }

    pub(crate) fn sessions_as(&self, caller: &str) -> SessionServiceClient<Wire> {
        SessionServiceClient::new(self.server.channel_as(caller, &[]))
    }

    pub(crate) fn workflows(&self) -> WorkflowServiceClient<Wire> {
        WorkflowServiceClient::new(self.server.operator())
    }

    pub(crate) async fn register(&self, id: &str) -> Agent {
        let request = RegisterAgentRequest {
            agent_id: id.to_owned(),
            role: "auditor".to_owned(),
            capabilities: vec!["host".to_owned()],
            ..RegisterAgentRequest::default()
        };
        self.agents().register_agent(request).await.unwrap().into_inner().agent.unwrap()
    }
}

/// The stable reason of an error.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The fields that an error names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|details| details.field_violations);
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}
