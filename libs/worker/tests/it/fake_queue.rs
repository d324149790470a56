//! A queue daemon in the test's own process: the test says what it answers on each `Work` stream.

use std::sync::Arc;
use std::time::Duration;

use nova_client::{Credential, Credentials, Endpoint, Endpoints, Mesh};
use nova_proto::queue::v1::queue_service_server::{QueueService, QueueServiceServer};
use nova_proto::queue::v1::work_request::Message as Said;
use nova_proto::queue::v1::work_response::Message as Heard;
use nova_proto::queue::v1::*;
use nova_worker::{Worker, WorkerBuilder};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(20);

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
        let service = QueueServiceServer::new(Service { opened });
        let server = tonic::transport::Server::builder().add_service(service);
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
        loop {
            if let Said::Settle(settle) = self.hear().await {
                return settle.settlements;
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
        let lease = Lease { task: Some(task), token, attempt: 1, ..Lease::default() };
        self.say(Heard::Leases(WorkLeases { leases: vec![lease] })).await;
    }

    pub(crate) async fn confirm(&self, task_id: &str) {
        let result = SettlementResult { task_id: task_id.into(), ..SettlementResult::default() };
        self.say(Heard::Settled(WorkSettled { results: vec![result] })).await;
    }

    pub(crate) async fn say_too_late(&self, task_id: &str) {
        let result = SettlementResult { task_id: task_id.into(), lost: true, state: 0 };
        self.say(Heard::Settled(WorkSettled { results: vec![result] })).await;
    }

    pub(crate) async fn say_lost(&self, task_id: &str) {
        let result = HeartbeatResult { task_id: task_id.into(), lost: true, ..HeartbeatResult::default() };
        self.say(Heard::Heartbeats(HeartbeatResponse { results: vec![result] })).await;
    }

    /// Breaks the stream.
    pub(crate) async fn break_off(self) {
        self.answers.send(Err(Status::unavailable("the queue is gone"))).await.unwrap();
    }
}

struct Service {
    opened: mpsc::UnboundedSender<Stream>,
}

type Answer<T> = Result<Response<T>, Status>;

macro_rules! unanswered {
    ($($method:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl QueueService for Service {
            type WorkStream = ReceiverStream<Result<WorkResponse, Status>>;
            type WatchTasksStream = ReceiverStream<Result<WatchTasksResponse, Status>>;

            async fn work(&self, request: Request<Streaming<WorkRequest>>) -> Answer<Self::WorkStream> {
                let (answers, receiver) = mpsc::channel(64);
                let stream = Stream { said: request.into_inner(), answers };
                self.opened.send(stream).map_err(|_| Status::unavailable("the test has ended"))?;
                Ok(Response::new(ReceiverStream::new(receiver)))
            }

            async fn watch_tasks(&self, _: Request<WatchTasksRequest>) -> Answer<Self::WatchTasksStream> {
                Err(Status::unimplemented("not in this test"))
            }

            $(async fn $method(&self, _: Request<$request>) -> Answer<$response> {
                Err(Status::unimplemented("not in this test"))
            })*
        }
    };
}

unanswered! {
    enqueue(EnqueueRequest) -> EnqueueResponse;
    lease(LeaseRequest) -> LeaseResponse;
    heartbeat(HeartbeatRequest) -> HeartbeatResponse;
    complete(CompleteRequest) -> CompleteResponse;
    fail(FailRequest) -> FailResponse;
    release(ReleaseRequest) -> ReleaseResponse;
    get_task(GetTaskRequest) -> GetTaskResponse;
    list_tasks(ListTasksRequest) -> ListTasksResponse;
    list_queues(ListQueuesRequest) -> ListQueuesResponse;
    cancel_tasks(CancelTasksRequest) -> CancelTasksResponse;
    redrive_tasks(RedriveTasksRequest) -> RedriveTasksResponse;
    purge_tasks(PurgeTasksRequest) -> PurgeTasksResponse;
    get_queue(GetQueueRequest) -> GetQueueResponse;
    update_queue(UpdateQueueRequest) -> UpdateQueueResponse;
    pause_queue(PauseQueueRequest) -> PauseQueueResponse;
    drain_queue(DrainQueueRequest) -> DrainQueueResponse;
    resume_queue(ResumeQueueRequest) -> ResumeQueueResponse;
    put_schedule(PutScheduleRequest) -> PutScheduleResponse;
    get_schedule(GetScheduleRequest) -> GetScheduleResponse;
    list_schedules(ListSchedulesRequest) -> ListSchedulesResponse;
    delete_schedule(DeleteScheduleRequest) -> DeleteScheduleResponse;
    list_workers(ListWorkersRequest) -> ListWorkersResponse;
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
    ended: Arc<Mutex<tokio::task::JoinHandle<Result<(), nova_worker::WorkerError>>>>,
}

impl Running {
    /// Waits until the worker has ended.
    pub(crate) async fn ended(&self) -> Result<(), nova_worker::WorkerError> {
        let mut ended = self.ended.lock().await;
        tokio::time::timeout(PATIENCE, &mut *ended).await.expect("an end in time").unwrap()
    }
}
