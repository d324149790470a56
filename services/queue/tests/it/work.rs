//! The stream a worker lives on.

use futures::{
    FutureExt as _,
    future::{Either, select},
};
use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use nova_testkit::soon;
use pb::{TaskState, work_request::Message as Say, work_response::Message as Hear};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::harness::{
    Client, Home, PATIENCE, ask, broken, client, enqueue, get, put, refer, refused, seconds, take, task,
};

/// A worker's ends of its stream.
pub(crate) struct Worker {
    say: mpsc::Sender<pb::WorkRequest>,
    hear: Streaming<pb::WorkResponse>,
}

impl Worker {
    pub(crate) async fn open(client: &mut Client, credit: u32) -> Self {
        let open =
            pb::WorkOpen { queues: vec!["q".into()], worker: "w-1".into(), credit, ..Default::default() };
        let (say, said) = mpsc::channel(16);
        say.send(pb::WorkRequest { message: Some(Say::Open(open)) }).await.unwrap();
        let hear = client.work(ReceiverStream::new(said)).await.unwrap().into_inner();
        Self { say, hear }
    }

    pub(crate) async fn say(&self, message: Say) {
        self.say.send(pb::WorkRequest { message: Some(message) }).await.unwrap();
    }

    async fn hear(&mut self) -> Hear {
        let message = tokio::time::timeout(PATIENCE, self.hear.message()).await.expect("the queue answers");
        message.unwrap().expect("the stream stands").message.unwrap()
    }

    pub(crate) async fn leases(&mut self) -> Vec<pb::Lease> {
        match self.hear().await {
            Hear::Leases(leases) => leases.leases,
            other => panic!("leases were to come, not {other:?}"),
        }
    }

    pub(crate) async fn settle(
        &mut self,
        lease: pb::LeaseRef,
        outcome: pb::settlement::Outcome,
    ) -> pb::SettlementResult {
        let settlement = pb::Settlement { lease: Some(lease), outcome: Some(outcome) };
        self.settle_all(vec![settlement]).await.remove(0)
    }

    /// Extends a lease.
    pub(crate) async fn beat(&mut self, lease: pb::LeaseRef) -> pb::HeartbeatResult {
        self.say(Say::Heartbeat(pb::WorkHeartbeat { leases: vec![lease], ..Default::default() })).await;
        match self.hear().await {
            Hear::Heartbeats(beats) => beats.results.into_iter().next().unwrap(),
            other => panic!("an answer to a heartbeat was to come, not {other:?}"),
        }
    }

    pub(crate) async fn settle_all(&mut self, settlements: Vec<pb::Settlement>) -> Vec<pb::SettlementResult> {
        self.say(Say::Settle(pb::WorkSettle { settlements, credit: 0 })).await;
        match self.hear().await {
            Hear::Settled(settled) => settled.results,
            other => panic!("an answer to a settlement was to come, not {other:?}"),
        }
    }
}

pub(crate) fn completed(result: &str) -> pb::settlement::Outcome {
    pb::settlement::Outcome::Completed(result.as_bytes().to_vec().into())
}

pub(crate) async fn a_stream_leases_heartbeats_and_settles(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let mut worker = Worker::open(&mut client, 1).await;
    let id = put(&mut client, task("in")).await;
    let lease = worker.leases().await.remove(0);
    assert_eq!(&lease.task.as_ref().unwrap().payload[..], b"in");
    assert!(!worker.beat(refer(&lease)).await.lost);
    let failure = pb::Failure { error: Some(broken()), ..Default::default() };
    let failure = pb::settlement::Outcome::Failed(failure);
    assert_eq!(worker.settle(refer(&lease), failure).await.state(), TaskState::Waiting);
    worker.say(Say::Credit(1)).await;
    let again = worker.leases().await.remove(0);
    let stale = worker.settle(refer(&lease), completed("stale")).await;
    assert!(stale.lost);
    let settled = worker.settle(refer(&again), completed("out")).await;
    assert_eq!(
        (settled.task_id.as_str(), settled.lost, settled.state()),
        (id.as_str(), false, TaskState::Completed)
    );
    assert_eq!(&get(&mut client, &id).await.result[..], b"out");
}

pub(crate) async fn a_stream_never_sends_more_than_its_credit(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    client.enqueue(enqueue((0..10).map(|_| task("t")).collect())).await.unwrap();
    let mut worker = Worker::open(&mut client, 3).await;
    let mut held = worker.leases().await;
    while held.len() < 3 {
        held.extend(worker.leases().await);
    }
    assert_eq!(held.len(), 3);
    let settled = worker.settle(refer(&held[0]), completed("r")).await;
    assert!(!settled.lost, "the next message after three leases is the answer: no fourth lease came");
    worker.say(Say::Credit(2)).await;
    let mut more = worker.leases().await;
    while more.len() < 2 {
        more.extend(worker.leases().await);
    }
    assert_eq!(more.len(), 2);
}

pub(crate) async fn a_settlement_asks_for_what_comes_next(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    client.enqueue(enqueue((0..3).map(|_| task("t")).collect())).await.unwrap();
    let mut worker = Worker::open(&mut client, 1).await;
    let held = worker.leases().await;
    let settlement = pb::Settlement { lease: Some(refer(&held[0])), outcome: Some(completed("r")) };
    worker.say(Say::Settle(pb::WorkSettle { settlements: vec![settlement], credit: 2 })).await;
    let (mut settled, mut leases) = (0, 0);
    while settled < 1 || leases < 2 {
        match worker.hear().await {
            Hear::Settled(answer) => settled += answer.results.len(),
            Hear::Leases(more) => leases += more.leases.len(),
            other => panic!("an answer and leases were to come, not {other:?}"),
        }
    }
    assert_eq!((settled, leases), (1, 2));
}

pub(crate) async fn a_dropped_stream_keeps_its_leases(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let mut worker = Worker::open(&mut client, 5).await;
    let lease = worker.leases().await.remove(0);
    drop(worker);
    assert_eq!(get(&mut client, &id).await.state(), TaskState::Leased);
    let beat = pb::HeartbeatRequest { leases: vec![refer(&lease)], ..Default::default() };
    assert!(!client.heartbeat(beat).await.unwrap().into_inner().results[0].lost);
    let next = put(&mut client, task("next")).await;
    let taken = take(&mut client, ask()).await;
    assert_eq!(taken.task.unwrap().id, next, "the dropped stream takes nothing more");
}

pub(crate) async fn leases_that_a_stream_has_not_taken_go_back_with_it(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let worker = Worker::open(&mut client, 100).await;
    let large = "x".repeat(512 << 10);
    for _ in 0..40 {
        put(&mut client, task(&large)).await;
    }
    // It reads nothing: a few messages fill the connection's window, and sixteen wait behind it.
    let held = || {
        let mut client = client.clone();
        async move {
            let queues =
                client.list_queues(pb::ListQueuesRequest::default()).await.unwrap().into_inner().queues;
            (queues[0].leased > 16).then_some(())
        }
    };
    soon("the stream holds what it cannot send", PATIENCE, held).await;
    drop(worker);
    for _ in 0..25 {
        assert_eq!(take(&mut client, ask()).await.attempt, 1);
    }
}

pub(crate) async fn a_stream_waits_where_a_call_is_refused(home: &Home) {
    let server = home.serve_with(Config { max_waiting_leases: 1, ..Config::default() }).await;
    let mut client = client(&server);
    let (mut first, mut second) = (client.clone(), client.clone());
    let long = || pb::LeaseRequest { wait: seconds(60), ..ask() };
    let (waits, one_too_many) = (first.lease(long()).boxed(), second.lease(long()).boxed());
    let (refusal, waits) = match select(waits, one_too_many).await {
        Either::Left(ended) | Either::Right(ended) => ended,
    };
    refused(refusal, Code::ResourceExhausted, "OVERLOADED");
    let mut worker = Worker::open(&mut client, 1).await;
    client.enqueue(enqueue(vec![task("a"), task("b")])).await.unwrap();
    let (called, streamed) = tokio::join!(waits, worker.leases());
    assert_eq!((called.unwrap().into_inner().leases.len(), streamed.len()), (1, 1));
}

pub(crate) async fn a_draining_daemon_says_so(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    let mut worker = Worker::open(&mut client, 5).await;
    let lease = worker.leases().await.remove(0);
    server.runtime.shutdown().cancel();
    assert!(matches!(worker.hear().await, Hear::Draining(_)));
    let settled = worker.settle(refer(&lease), completed("r")).await;
    assert!(!settled.lost, "what is held may still be settled");
}

pub(crate) async fn a_stream_that_does_not_open_is_refused(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let first = pb::WorkRequest { message: Some(Say::Credit(1)) };
    let mut hear = client.work(tokio_stream::once(first)).await.unwrap().into_inner();
    refused(hear.message().await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

pub(crate) async fn a_stream_that_says_nothing_ends(home: &Home) {
    let server = home.serve().await;
    let mut hear = client(&server).work(tokio_stream::pending()).await.unwrap().into_inner();
    let ended = tokio::time::timeout(PATIENCE, hear.message()).await.expect("it ends in time");
    refused(ended, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
}

pub(crate) async fn there_are_only_so_many_streams(home: &Home) {
    let server = home.serve_with(Config { max_streams: 2, ..Config::default() }).await;
    let mut client = client(&server);
    let watch = client.watch_tasks(pb::WatchTasksRequest::default()).await.unwrap();
    let worker = Worker::open(&mut client, 1).await;
    let third = client.watch_tasks(pb::WatchTasksRequest::default()).await;
    refused(third, Code::ResourceExhausted, "OVERLOADED");
    refused(client.work(tokio_stream::pending()).await, Code::ResourceExhausted, "OVERLOADED");
    drop((watch, worker));
    let opened = || {
        let mut client = client.clone();
        async move { client.watch_tasks(pb::WatchTasksRequest::default()).await.ok() }
    };
    soon("there is room again", PATIENCE, opened).await;
}

pub(crate) async fn a_stream_hears_at_once_of_a_cancelled_task(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let mut worker = Worker::open(&mut client, 2).await;
    let id = put(&mut client, task("t")).await;
    let lease = worker.leases().await.remove(0);
    let cancel = pb::CancelTasksRequest { task_ids: vec![id.clone()], ..Default::default() };
    assert_eq!(client.cancel_tasks(cancel).await.unwrap().into_inner().count, 1);
    let Hear::Cancelled(cancelled) = worker.hear().await else { panic!("it is told") };
    assert_eq!(cancelled.leases, [refer(&lease)]);
    assert!(worker.settle(refer(&lease), completed("late")).await.lost);
    worker.say(Say::Heartbeat(pb::WorkHeartbeat { leases: vec![refer(&lease)], ..Default::default() })).await;
    let Hear::Heartbeats(beats) = worker.hear().await else { panic!("heartbeats are answered") };
    assert!(beats.results[0].lost && beats.results[0].cancelled);
}

pub(crate) async fn a_stream_takes_reports_and_shows_its_worker(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let mut worker = Worker::open(&mut client, 2).await;
    client.enqueue(enqueue(vec![task("a")])).await.unwrap();
    let lease = worker.leases().await.remove(0);
    let report = pb::LeaseReport {
        lease: Some(refer(&lease)),
        progress: Some(pb::Progress { fraction: 0.5, note: String::new() }),
        checkpoint: Some(b"half".to_vec().into()),
    };
    let beat = pb::WorkHeartbeat { leases: vec![refer(&lease)], reports: vec![report] };
    worker.say(Say::Heartbeat(beat)).await;
    let Hear::Heartbeats(beats) = worker.hear().await else { panic!("heartbeats are answered") };
    assert_eq!(beats.results.iter().map(|beat| beat.lost).collect::<Vec<_>>(), [false, false]);
    let found = get(&mut client, &lease.task.as_ref().unwrap().id).await;
    assert_eq!((found.progress.unwrap().fraction, &*found.checkpoint), (0.5, &b"half"[..]));
    let listed = client.list_workers(pb::ListWorkersRequest::default()).await.unwrap().into_inner().workers;
    assert_eq!((&*listed[0].name, listed[0].leases, listed[0].streaming), ("w-1", 1, true));
    drop(worker);
    let left = || {
        let mut client = client.clone();
        async move {
            let listed = client.list_workers(pb::ListWorkersRequest::default()).await.unwrap().into_inner();
            (!listed.workers[0].streaming).then_some(())
        }
    };
    soon("a stream that is dropped is told of no more", PATIENCE, left).await;
}
