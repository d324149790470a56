//! The decision point and the policy daemon, over a connection.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::disallowed_methods, reason = "a test has no runtime to name its tasks")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nova_authz::{Config, Module, PolicyPoint, Snapshot};
use nova_client::{Credential, Credentials, Endpoint, Endpoints, Mesh};
use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use nova_rpc::{Authorizer as _, Question};
use nova_types::SystemClock;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

type Snapshots =
    std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::WatchSnapshotsResponse, Status>> + Send>>;

/// A policy daemon that sends what it is told to, and hands on what is reported.
struct Daemon {
    snapshots: watch::Receiver<Option<pb::Snapshot>>,
    reports: mpsc::UnboundedSender<pb::ReportDecisionsRequest>,
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the decision point does not call it"))
}

#[tonic::async_trait]
impl PolicyService for Daemon {
    type WatchSnapshotsStream = Snapshots;

    async fn watch_snapshots(
        &self,
        _: Request<pb::WatchSnapshotsRequest>,
    ) -> Result<Response<Snapshots>, Status> {
        let stream = WatchStream::new(self.snapshots.clone());
        Ok(Response::new(Box::pin(stream.map(|snapshot| Ok(pb::WatchSnapshotsResponse { snapshot })))))
    }

    async fn report_decisions(
        &self,
        request: Request<pb::ReportDecisionsRequest>,
    ) -> Result<Response<pb::ReportDecisionsResponse>, Status> {
        self.reports.send(request.into_inner()).unwrap();
        Ok(Response::new(pb::ReportDecisionsResponse {}))
    }

    async fn check(&self, _: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        not_here()
    }

    async fn explain(&self, _: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        not_here()
    }

    async fn list_decisions(
        &self,
        _: Request<pb::ListDecisionsRequest>,
    ) -> Result<Response<pb::ListDecisionsResponse>, Status> {
        not_here()
    }

    async fn put_policy(
        &self,
        _: Request<pb::PutPolicyRequest>,
    ) -> Result<Response<pb::PutPolicyResponse>, Status> {
        not_here()
    }

    async fn get_policy(
        &self,
        _: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::GetPolicyResponse>, Status> {
        not_here()
    }

    async fn list_policies(
        &self,
        _: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        not_here()
    }

    async fn delete_policy(
        &self,
        _: Request<pb::DeletePolicyRequest>,
    ) -> Result<Response<pb::DeletePolicyResponse>, Status> {
        not_here()
    }

    async fn get_policy_status(
        &self,
        _: Request<pb::GetPolicyStatusRequest>,
    ) -> Result<Response<pb::GetPolicyStatusResponse>, Status> {
        not_here()
    }
}

type Reports = mpsc::UnboundedReceiver<pb::ReportDecisionsRequest>;

/// Serves on a listener until it is stopped.
struct Serving {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Serving {
    fn on(listener: TcpListener, snapshots: watch::Receiver<Option<pb::Snapshot>>) -> (Self, Reports) {
        let (reports, reported) = mpsc::unbounded_channel();
        let service = PolicyServiceServer::new(Daemon { snapshots, reports });
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped);
        (Self { task: tokio::spawn(async move { serving.await.unwrap() }), stop }, reported)
    }

    /// Ends once the streams have.
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn listener() -> (TcpListener, Mesh) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let policy = Endpoint(format!("http://{}", listener.local_addr().unwrap()));
    let credentials = Credentials::new(Credential::bearer(Vec::new(), None)).unwrap();
    let mesh = Mesh::new(Endpoints { policy, ..Endpoints::default() }, credentials).unwrap();
    (listener, mesh)
}

fn point(data_dir: Option<&Path>) -> PolicyPoint {
    nova_client::install_crypto_provider();
    PolicyPoint::with_config("queue", data_dir, Arc::new(SystemClock), Config::default()).unwrap()
}

/// The same daemon after a restart.
fn restarted(data_dir: &Path) -> PolicyPoint {
    PolicyPoint::new("queue", data_dir, Arc::new(SystemClock)).unwrap()
}

fn policy(why: &str) -> Snapshot {
    deciding(false, why)
}

fn deciding(allow: bool, why: &str) -> Snapshot {
    let rego = format!("package nova.authz\ndecision := {{\"allow\": {allow}, \"why\": \"{why}\"}}");
    Snapshot::new(vec![Module { id: "authz.rego".to_owned(), rego }], "{}").unwrap()
}

fn wire(snapshot: &Snapshot) -> Option<pb::Snapshot> {
    Some(snapshot.into())
}

async fn in_force(point: &PolicyPoint, snapshot: &Snapshot) {
    let mut status = point.status_changes();
    let arrived = status.wait_for(|status| status.revision == snapshot.revision() && status.connected);
    tokio::time::timeout(Duration::from_secs(60), arrived).await.unwrap().unwrap();
}

#[tokio::test]
async fn every_revision_of_the_policy_daemon_is_put_in_force_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let point = point(Some(folder.path()));
    let (one, two) = (deciding(true, "one"), deciding(true, "two"));
    let (send, snapshots) = watch::channel(wire(&one));
    let (listener, mesh) = listener().await;
    let (_server, _reports) = Serving::on(listener, snapshots);
    let _watching = tokio::spawn(point.clone().run_watch(mesh, CancellationToken::new()));
    in_force(&point, &one).await;
    send.send(wire(&two)).unwrap();
    in_force(&point, &two).await;
    let until = Instant::now() + Duration::from_secs(60);
    while restarted(folder.path()).status().revision != two.revision() {
        assert!(Instant::now() < until, "it was not kept in time");
        tokio::task::yield_now().await;
    }
    assert!(*restarted(folder.path()).loaded().borrow());
}

#[tokio::test]
async fn a_forged_revision_is_not_put_in_force() {
    let point = point(None);
    let (good, next) = (policy("good"), policy("next"));
    let (send, snapshots) = watch::channel(wire(&good));
    let (listener, mesh) = listener().await;
    let (_server, _reports) = Serving::on(listener, snapshots);
    let _watching = tokio::spawn(point.clone().run_watch(mesh, CancellationToken::new()));
    in_force(&point, &good).await;
    let forged = pb::Snapshot { revision: next.revision().to_owned(), ..(&policy("forged")).into() };
    send.send(Some(forged)).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(point.status().revision, good.revision());
    send.send(wire(&next)).unwrap();
    in_force(&point, &next).await;
}

#[tokio::test]
async fn a_lost_watch_is_opened_again() {
    let point = point(None);
    let (one, two) = (policy("one"), policy("two"));
    let (listener, mesh) = listener().await;
    let address = listener.local_addr().unwrap();
    let (send, snapshots) = watch::channel(wire(&one));
    let (server, _reports) = Serving::on(listener, snapshots);
    let _watching = tokio::spawn(point.clone().run_watch(mesh, CancellationToken::new()));
    in_force(&point, &one).await;
    drop(send);
    server.stop().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let (_send, snapshots) = watch::channel(wire(&two));
    let (_server, _reports) = Serving::on(socket.listen(16).unwrap(), snapshots);
    in_force(&point, &two).await;
}

#[tokio::test]
async fn a_denial_reaches_the_policy_daemon_with_all_that_was_asked() {
    let point = point(None);
    point.publish(policy("never")).unwrap();
    let (_send, snapshots) = watch::channel(None);
    let (listener, mesh) = listener().await;
    let (_server, mut reports) = Serving::on(listener, snapshots);
    let _reporting = tokio::spawn(point.clone().run_report(mesh, CancellationToken::new()));
    let roles = ["b".to_owned(), "a".to_owned()];
    let method = "nova.queue.v1.QueueService/Enqueue";
    let credential = nova_rpc::Credential::Token;
    point.authorize(&Question { subject: None, roles: &roles, credential, service: "queue", method });
    let report = reports.recv().await.unwrap();
    let decision = &report.decisions[0];
    assert_eq!((decision.verdict(), decision.why.as_str()), (pb::Verdict::Deny, "never"));
    assert_eq!(decision.revision, policy("never").revision());
    let question = decision.question.as_ref().unwrap();
    assert_eq!(question.credential(), pb::Credential::Token);
    assert_eq!(
        (question.method.as_str(), question.roles.as_slice()),
        (method, &["a".to_owned(), "b".to_owned()][..])
    );
}

#[tokio::test]
async fn a_revision_on_disk_that_locks_everybody_out_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let point = point(Some(folder.path()));
    let locking = policy("never");
    let (_send, snapshots) = watch::channel(wire(&locking));
    let (listener, mesh) = listener().await;
    let (_server, _reports) = Serving::on(listener, snapshots);
    let _watching = tokio::spawn(point.clone().run_watch(mesh, CancellationToken::new()));
    in_force(&point, &locking).await;
    let kept = folder.path().join("policy-snapshot.json");
    let until = Instant::now() + Duration::from_secs(60);
    while !kept.exists() {
        assert!(Instant::now() < until, "it was not kept in time");
        tokio::task::yield_now().await;
    }
    assert_eq!(restarted(folder.path()).status().revision, Snapshot::bootstrap().revision());
}
