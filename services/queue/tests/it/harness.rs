//! A daemon on a free port, and the words that the tests speak.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nova_proto::queue::v1::{self as pb, queue_service_client::QueueServiceClient};
use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::{AsCaller, TestServer};
use nova_testkit::{redis::RedisServer, soon};
use nova_types::Clock;
use tempfile::TempDir;
use tonic::{
    Code, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

/// Longest that a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Client = QueueServiceClient<InterceptedService<Channel, AsCaller>>;

/// Where a daemon keeps its state; it may be started there again and again.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    redis: Option<RedisServer>,
}

impl Home {
    /// In a SQLite file.
    pub(crate) fn sqlite() -> Self {
        Self { folder: TempDir::new().unwrap(), redis: None }
    }

    /// In Redis.
    pub(crate) fn redis() -> Self {
        Self { folder: TempDir::new().unwrap(), redis: Some(RedisServer::start()) }
    }

    /// The store, as configuration has it.
    pub(crate) fn store(&self) -> String {
        self.redis.as_ref().map_or("sqlite".to_owned(), RedisServer::url)
    }

    /// The Redis that the store is in.
    pub(crate) fn server(&mut self) -> &mut RedisServer {
        self.redis.as_mut().expect("a store in Redis")
    }

    /// Takes the ledger from the daemon that leads.
    pub(crate) async fn depose(&self) {
        let mut connection =
            redis::Client::open(self.store()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut grow = redis::cmd("HINCRBY");
        grow.arg("{nova.queue}:m").arg("epoch").arg(1);
        grow.query_async::<()>(&mut connection).await.unwrap();
    }

    /// Folder of the daemon.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Starts a daemon.
    pub(crate) async fn serve(&self) -> TestServer {
        self.serve_with(Config::default()).await
    }

    /// Starts a daemon with these settings.
    pub(crate) async fn serve_with(&self, config: Config) -> TestServer {
        let builder = TestServer::builder(self.folder()).store(&self.store());
        builder.start::<QueueDaemon>(config).await.unwrap()
    }

    /// Starts a daemon on a clock.
    pub(crate) async fn serve_at(&self, clock: Arc<dyn Clock>) -> TestServer {
        let builder = TestServer::builder(self.folder()).store(&self.store()).clock(clock);
        builder.start::<QueueDaemon>(Config::default()).await.unwrap()
    }

    /// Starts a daemon that denies a method.
    pub(crate) async fn serve_denying(&self, method: &str) -> TestServer {
        let builder = TestServer::builder(self.folder()).store(&self.store()).deny(method);
        builder.start::<QueueDaemon>(Config::default()).await.unwrap()
    }
}

/// A client of a daemon.
pub(crate) fn client(server: &TestServer) -> Client {
    QueueServiceClient::new(server.operator())
}

/// A client of a daemon in another process.
pub(crate) type FarClient = QueueServiceClient<InterceptedService<Channel, AsOperator>>;

/// Says that an operator calls, as [`TestServer::operator`] does.
#[derive(Debug, Clone)]
pub(crate) struct AsOperator;

impl Interceptor for AsOperator {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let caller = MetadataValue::from_static("spiffe://nova.local/user/operator");
        request.metadata_mut().insert("x-test-caller", caller);
        request.metadata_mut().insert("x-test-roles", MetadataValue::from_static("operator"));
        Ok(request)
    }
}

/// A client of the daemon at `address`.
pub(crate) fn far_client(address: &str) -> FarClient {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    QueueServiceClient::with_interceptor(endpoint.connect_lazy(), AsOperator)
}

/// A task of queue `q` that retries fast.
pub(crate) fn task(payload: &str) -> pb::NewTask {
    pb::NewTask {
        queue: "q".into(),
        kind: "k".into(),
        payload: payload.as_bytes().to_vec().into(),
        metadata: HashMap::from([("run".to_owned(), "7".to_owned())]),
        retry: Some(pb::RetryPolicy { initial_backoff: millis(5), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn enqueue(tasks: Vec<pb::NewTask>) -> pb::EnqueueRequest {
    pb::EnqueueRequest { tasks, ..Default::default() }
}

/// Asks queue `q` for one task and waits for it.
pub(crate) fn ask() -> pb::LeaseRequest {
    pb::LeaseRequest {
        queues: vec!["q".into()],
        worker: "w-1".into(),
        max_tasks: 1,
        wait: seconds(10),
        ..Default::default()
    }
}

/// The same for the shortest lease.
pub(crate) fn ask_briefly() -> pb::LeaseRequest {
    pb::LeaseRequest { lease_duration: seconds(1), ..ask() }
}

pub(crate) fn refer(lease: &pb::Lease) -> pb::LeaseRef {
    pb::LeaseRef { task_id: lease.task.as_ref().unwrap().id.clone(), token: lease.token }
}

pub(crate) fn complete(lease: &pb::Lease, result: &str) -> pb::CompleteRequest {
    let result = result.as_bytes().to_vec().into();
    pb::CompleteRequest { lease: Some(refer(lease)), result, ..Default::default() }
}

/// What a failed attempt says.
pub(crate) fn broken() -> pb::TaskError {
    pb::TaskError { reason: "BROKEN".into(), message: "it broke".into() }
}

pub(crate) fn fail(lease: &pb::Lease) -> pb::FailRequest {
    pb::FailRequest { lease: Some(refer(lease)), error: Some(broken()), ..Default::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "fields of messages are optional")]
pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[expect(clippy::unnecessary_wraps, reason = "fields of messages are optional")]
pub(crate) fn millis(millis: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 })
}

/// Enqueues one task and answers its id.
pub(crate) async fn put(client: &mut Client, task: pb::NewTask) -> String {
    let stored = client.enqueue(enqueue(vec![task])).await.unwrap().into_inner();
    stored.tasks.into_iter().next().unwrap().id
}

/// Takes one task.
pub(crate) async fn take(client: &mut Client, request: pb::LeaseRequest) -> pb::Lease {
    let leases = client.lease(request).await.unwrap().into_inner().leases;
    leases.into_iter().next().expect("a task becomes ready in time")
}

pub(crate) async fn get(client: &mut Client, id: &str) -> pb::Task {
    let request = pb::GetTaskRequest { task_id: id.into(), ..Default::default() };
    client.get_task(request).await.unwrap().into_inner().task.unwrap()
}

/// Waits until a task is in a state.
pub(crate) async fn eventually(client: &mut Client, id: &str, state: pb::TaskState) -> pb::Task {
    let client = &*client;
    let reached = || async { Some(get(&mut client.clone(), id).await).filter(|task| task.state() == state) };
    soon("the task reaches the state", PATIENCE, reached).await
}

/// Checks code and reason of a refusal.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) {
    let status = answer.expect_err("the call is refused");
    let details = status.get_error_details();
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some(reason), "{status}");
}
