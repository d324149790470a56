//! Clients that open a stream and never read what comes: they cost the daemon next to nothing, and stop nobody.

use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use nova_testkit::redis::RedisServer;
use pb::{work_request::Message as Say, work_response::Message as Hear};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::{
    caller::{Client, client},
    daemon::Daemon,
    load::PATIENCE,
    words::span,
};

/// Watches that nobody reads, and workers that do not listen.
const WATCHES: usize = 16;
const WORKERS: usize = 4;
/// Each round is two events of each of so many tasks.
const TASKS: usize = 1_000;
const ROUNDS: usize = 50;
/// Rounds after which the daemon has all the memory that it needs.
const WARM_UP: usize = 10;

/// How much the daemon may grow, bytes. Kept for each stream, what it is not read of would be ten times that.
const GROWTH: u64 = 96 << 20;

/// Watches may resume from little, and little is kept.
fn little_history() -> Config {
    Config { keep_events: 2_000, keep_finished: 1_000, payload_cache_bytes: 1 << 20, ..Config::default() }
}

async fn enqueue(client: &mut Client, queue: &str) {
    let task = pb::NewTask { queue: queue.into(), kind: "k".into(), ..Default::default() };
    let request = pb::EnqueueRequest { tasks: vec![task; TASKS], ..Default::default() };
    client.enqueue(request).await.unwrap();
}

/// Cancels all of queue `q`, and answers how many there were.
async fn cancel(client: &mut Client) -> u64 {
    let (mut count, mut request) = (0, pb::CancelTasksRequest { queue: "q".into(), ..Default::default() });
    loop {
        let answer = client.cancel_tasks(request.clone()).await.unwrap().into_inner();
        (count, request.page_token) = (count + answer.count, answer.next_page_token);
        if request.page_token.is_empty() {
            return count;
        }
    }
}

/// Makes the daemon tell of `rounds` times 2,000 changes.
async fn go_on(client: &mut Client, rounds: usize) {
    for _ in 0..rounds {
        enqueue(client, "q").await;
        assert_eq!(cancel(client).await, TASKS as u64);
    }
}

#[track_caller]
fn assert_bounded(daemon: &Daemon, before: u64) {
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < GROWTH, "the daemon grew by {grown} bytes");
}

async fn watch(client: &mut Client) -> Streaming<pb::WatchTasksResponse> {
    client.watch_tasks(pb::WatchTasksRequest::default()).await.unwrap().into_inner()
}

/// Reads a watch to its end: every event came in order, and then that the rest is gone.
async fn assert_told_to_resume(mut watch: Streaming<pb::WatchTasksResponse>) {
    let mut last: Option<pb::Task> = None;
    let ended = loop {
        match timeout(PATIENCE, watch.message()).await.expect("a watch goes on or ends") {
            Ok(Some(message)) => last = message.event.and_then(|event| event.task).or(last),
            Ok(None) => panic!("the watch ended without a word"),
            Err(status) => break status,
        }
    };
    assert!(last.is_some(), "what was on its way arrives");
    assert_eq!(ended.code(), Code::OutOfRange, "{ended}");
    assert_eq!(ended.get_details_error_info().unwrap().reason, "CURSOR_EXPIRED");
}

async fn watches_cost_little(store: &str) {
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_with(folder.path(), store, little_history());
    let mut active = client(&daemon.address());
    // One connection each: what is not read on one of them holds up only itself.
    let mut silent = Vec::new();
    for _ in 0..WATCHES {
        silent.push(watch(&mut client(&daemon.address())).await);
    }
    go_on(&mut active, WARM_UP).await;
    let before = daemon.memory();
    go_on(&mut active, ROUNDS).await;
    assert_bounded(&daemon, before);
    for watch in silent {
        assert_told_to_resume(watch).await;
    }
    let mut reader = watch(&mut active).await;
    assert!(reader.message().await.unwrap().is_some(), "who resumes is told where the log stands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_never_read_costs_little_and_is_told_to_resume_on_sqlite() {
    watches_cost_little("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_never_read_costs_little_and_is_told_to_resume_on_redis() {
    let redis = RedisServer::start();
    watches_cost_little(&redis.url()).await;
}

/// A worker that says a lot and reads nothing.
struct SilentWorker {
    hear: Streaming<pb::WorkResponse>,
    talking: JoinSet<()>,
}

impl SilentWorker {
    /// Works on a queue of its own.
    async fn open(address: &str, queue: &str) -> Self {
        let (say, messages) = mpsc::channel(1);
        let open = pb::WorkOpen {
            queues: vec![queue.into()],
            worker: "silent".into(),
            credit: 10_000,
            lease_duration: Some(span(3_600_000_000)),
            ..Default::default()
        };
        say.send(pb::WorkRequest { message: Some(Say::Open(open)) }).await.unwrap();
        let hear = client(address).work(ReceiverStream::new(messages)).await.unwrap().into_inner();
        let mut talking = JoinSet::new();
        talking.spawn(talk(say));
        Self { hear, talking }
    }

    /// Reads until it has all of its tasks, and heard of its heartbeats.
    async fn listen(&mut self) {
        let (mut leases, mut beats) = (0, 0);
        while leases < TASKS || beats == 0 {
            let heard = timeout(PATIENCE, self.hear.message()).await.expect("the stream goes on");
            match heard.unwrap().expect("the stream stands").message {
                Some(Hear::Leases(given)) => leases += given.leases.len(),
                Some(Hear::Heartbeats(told)) => beats += told.results.len(),
                other => panic!("{other:?} was not asked for"),
            }
        }
        self.talking.shutdown().await;
    }
}

/// Heartbeats for leases that nobody holds, as fast as they are taken: each is answered.
async fn talk(say: mpsc::Sender<pb::WorkRequest>) {
    let lease = pb::LeaseRef { task_id: "0198c0de-0000-7000-8000-000000000000".into(), token: 1 };
    let beat = pb::WorkHeartbeat { leases: vec![lease; 100], ..Default::default() };
    while say.send(pb::WorkRequest { message: Some(Say::Heartbeat(beat.clone())) }).await.is_ok() {}
}

async fn workers_cost_little(store: &str) {
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_with(folder.path(), store, little_history());
    let mut active = client(&daemon.address());
    go_on(&mut active, WARM_UP).await;
    let before = daemon.memory();
    let mut silent = Vec::new();
    for queue in (0..WORKERS).map(|number| format!("of-{number}")) {
        enqueue(&mut active, &queue).await;
        silent.push(SilentWorker::open(&daemon.address(), &queue).await);
    }
    go_on(&mut active, ROUNDS).await;
    assert_bounded(&daemon, before);
    for mut worker in silent {
        worker.listen().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_never_listens_costs_little_and_may_listen_later_on_sqlite() {
    workers_cost_little("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_never_listens_costs_little_and_may_listen_later_on_redis() {
    let redis = RedisServer::start();
    workers_cost_little(&redis.url()).await;
}
