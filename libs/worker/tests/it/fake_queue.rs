//! A queue daemon in the test's own process: the test says what it answers on each `Work` stream.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;

use nova_client::{Credential, Credentials, Endpoint, Endpoints, Mesh};
use nova_proto::codec::WholeCodec;
use nova_proto::queue::v1::work_request::Message as Said;
use nova_proto::queue::v1::work_response::Message as Heard;
use nova_proto::queue::v1::*;
use nova_worker::{Summary, Worker, WorkerBuilder, WorkerError};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct FakeQueue {
    address: String,
    streams: Mutex<mpsc::UnboundedReceiver<Stream>>,
}

/// One `Work` stream, seen from the queue.
pub(crate) struct Stream {
    said: Streaming<WorkRequest>,
    answers: mpsc::Sender<Result<WorkResponse, Status>>,
}

impl FakeQueue {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (opened, streams) = mpsc::unbounded_channel();
        let server = tonic::transport::Server::builder().add_service(Service { opened });
        #[expect(clippy::disallowed_methods, reason = "a test's server ends with the test")]
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, streams: Mutex::new(streams) }
    }

    pub(crate) fn mesh(&self) -> Mesh {
        let endpoints = Endpoints { queue: Endpoint(self.address.clone()), ..Endpoints::default() };
        Mesh::new(endpoints, Credentials::new(Credential::bearer(Vec::new(), None)).unwrap()).unwrap()
    }

    /// A worker of this queue, with leases as short as they may be.
    pub(crate) fn worker(&self) -> WorkerBuilder {
        nova_client::install_crypto_provider();
        Worker::builder(self.mesh()).queues(["q"]).lease_duration(Duration::from_secs(1))
    }

    /// The next stream that a worker opens, with its first message.
    pub(crate) async fn stream(&self) -> (Stream, WorkOpen) {
        let next = async { self.streams.lock().await.recv().await };
        let mut stream = tokio::time::timeout(PATIENCE, next).await.expect("a stream in time").unwrap();
        match stream.hear().await {
            Said::Open(open) => (stream, open),
            other => panic!("a stream begins with open, not {other:?}"),
        }
    }
}

impl Stream {
    /// What the worker says next.
    pub(crate) async fn hear(&mut self) -> Said {
        let next = tokio::time::timeout(PATIENCE, self.said.message());
        next.await.expect("a message in time").unwrap().expect("an open stream").message.unwrap()
    }

    /// The next settlements; heartbeats and credit in between are passed over.
    pub(crate) async fn hear_settlements(&mut self) -> Vec<Settlement> {
        self.hear_settle().await.settlements
    }

    /// The same with the credit that they came with.
    pub(crate) async fn hear_settle(&mut self) -> WorkSettle {
        loop {
            if let Said::Settle(settle) = self.hear().await {
                return settle;
            }
        }
    }

    /// The leases of the next heartbeat.
    pub(crate) async fn hear_heartbeat(&mut self) -> Vec<LeaseRef> {
        loop {
            if let Said::Heartbeat(beat) = self.hear().await {
                return beat.leases;
            }
        }
    }

    /// The next report on a lease; the heartbeats before it are answered.
    pub(crate) async fn hear_report(&mut self) -> LeaseReport {
        loop {
            let Said::Heartbeat(mut beat) = self.hear().await else { continue };
            if let Some(report) = beat.reports.pop() {
                return report;
            }
            for lease in beat.leases {
                self.say_kept(&lease.task_id).await;
            }
        }
    }

    pub(crate) async fn say(&self, heard: Heard) {
        self.answers.send(Ok(WorkResponse { message: Some(heard) })).await.unwrap();
    }

    /// Leases one task of a kind, with its token and payload.
    pub(crate) async fn lease(&self, id: &str, kind: &str, token: u64, payload: &str) {
        let task = Task {
            id: id.into(),
            queue: "q".into(),
            kind: kind.into(),
            payload: payload.to_owned().into(),
            ..Task::default()
        };
        self.lease_task(task, token).await;
    }

    pub(crate) async fn lease_task(&self, task: Task, token: u64) {
        let lease = Lease { task: Some(task), token, attempt: 1, ..Lease::default() };
        self.say(Heard::Leases(WorkLeases { leases: vec![lease] })).await;
    }

    pub(crate) async fn confirm(&self, task_id: &str) {
        let result = SettlementResult { task_id: task_id.into(), ..SettlementResult::default() };
        self.say(Heard::Settled(WorkSettled { results: vec![result] })).await;
    }

    /// Confirms what was in one message.
    pub(crate) async fn confirm_all(&self, settlements: &[Settlement]) {
        let id = |one: &Settlement| one.lease.as_ref().unwrap().task_id.clone();
        let result = |one| SettlementResult { task_id: id(one), ..SettlementResult::default() };
        let results = settlements.iter().map(result).collect();
        self.say(Heard::Settled(WorkSettled { results })).await;
    }

    pub(crate) async fn say_too_late(&self, task_id: &str) {
        let result = SettlementResult { task_id: task_id.into(), lost: true, state: 0 };
        self.say(Heard::Settled(WorkSettled { results: vec![result] })).await;
    }

    pub(crate) async fn say_lost(&self, task_id: &str) {
        self.answer_heartbeat(task_id, true).await;
    }

    pub(crate) async fn say_kept(&self, task_id: &str) {
        self.answer_heartbeat(task_id, false).await;
    }

    async fn answer_heartbeat(&self, task_id: &str, lost: bool) {
        let result = HeartbeatResult { task_id: task_id.into(), lost, ..HeartbeatResult::default() };
        self.say(Heard::Heartbeats(HeartbeatResponse { results: vec![result] })).await;
    }

    /// Breaks the stream.
    pub(crate) async fn break_off(self) {
        self.answers.send(Err(Status::unavailable("the queue is gone"))).await.unwrap();
    }
}

/// Serves `Work` alone.
#[derive(Clone)]
struct Service {
    opened: mpsc::UnboundedSender<Stream>,
}

impl StreamingService<WorkRequest> for Service {
    type Response = WorkResponse;
    type ResponseStream = ReceiverStream<Result<WorkResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<WorkRequest>>) -> Self::Future {
        let (answers, receiver) = mpsc::channel(64);
        let stream = Stream { said: request.into_inner(), answers };
        let told = self.opened.send(stream).map_err(|_| Status::unavailable("the test has ended"));
        ready(told.map(|()| Response::new(ReceiverStream::new(receiver))))
    }
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if !request.uri().path().ends_with("/Work") {
                return Ok(Status::unimplemented("not in this test").into_http());
            }
            Ok(Grpc::new(WholeCodec::default()).streaming(service, request).await)
        })
    }
}

impl NamedService for Service {
    const NAME: &'static str = "nova.queue.v1.QueueService";
}

/// Runs a worker beside the test; dropping the answer ends it.
pub(crate) fn spawn(builder: WorkerBuilder) -> Running {
    let drain = tokio_util::sync::CancellationToken::new();
    let worker = builder.build().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the worker ends with the test")]
    let ended = tokio::spawn(worker.run(drain.clone()));
    Running { drain, ended: Arc::new(Mutex::new(ended)) }
}

pub(crate) struct Running {
    pub(crate) drain: tokio_util::sync::CancellationToken,
    ended: Arc<Mutex<tokio::task::JoinHandle<Result<Summary, WorkerError>>>>,
}

impl Running {
    /// Waits until the worker has ended.
    pub(crate) async fn ended(&self) -> Result<Summary, WorkerError> {
        let mut ended = self.ended.lock().await;
        tokio::time::timeout(PATIENCE, &mut *ended).await.expect("an end in time").unwrap()
    }
}
