//! A drain ends what was begun, hands back what was not, and then the worker ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nova_proto::queue::v1::Settlement;
use nova_proto::queue::v1::settlement::Outcome;
use nova_worker::{CancelReason, Context, Failure};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::fake_queue::{FakeQueue, spawn};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn drain_finishes_what_runs_and_releases_what_comes() {
    static STARTED: Notify = Notify::const_new();
    static OPEN: Semaphore = Semaphore::const_new(0);
    let queue = FakeQueue::start().await;
    let wait = |_: Value, _: Context| async {
        STARTED.notify_one();
        OPEN.acquire().await.unwrap().forget();
        Ok("done")
    };
    let worker = spawn(queue.worker().concurrency(2).handle("wait", wait));
    let (mut stream, _) = queue.stream().await;
    stream.lease("runs", "wait", 1, "null").await;
    STARTED.notified().await;

    worker.drain.cancel();
    stream.lease("comes", "wait", 2, "null").await;
    let released = stream.hear_settlements().await.remove(0);
    assert_eq!(released.lease.unwrap().task_id, "comes");
    assert!(matches!(released.outcome, Some(Outcome::Released(_))));
    stream.confirm("comes").await;

    OPEN.add_permits(1);
    assert_eq!(stream.hear_settlements().await[0].outcome, Some(Outcome::Completed("\"done\"".into())));
    stream.confirm("runs").await;
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn drain_of_an_idle_worker_ends_at_once() {
    let queue = FakeQueue::start().await;
    let worker = spawn(queue.worker().handle("any", |_: Value, _: Context| async { Ok(1) }));
    let (_stream, _) = queue.stream().await;
    worker.drain.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn grace_that_is_over_cancels_what_runs_and_hands_it_back() {
    let queue = FakeQueue::start().await;
    let (told, mut why) = mpsc::unbounded_channel();
    let wait = move |_: Value, context: Context| {
        let told = told.clone();
        async move {
            told.send(context.cancelled().await).unwrap();
            Err::<(), _>(Failure::new("STOPPED", "as told"))
        }
    };
    let worker = spawn(queue.worker().drain_timeout(MOMENT).handle("wait", wait));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "wait", 1, "null").await;
    stream.hear_heartbeat().await;
    worker.drain.cancel();
    assert_eq!(why.recv().await, Some(CancelReason::Draining));
    assert!(matches!(stream.hear_settlements().await[0].outcome, Some(Outcome::Released(_))));
    stream.confirm("t1").await;
    let summary = worker.ended().await.unwrap();
    assert_eq!((summary.released, summary.failed, summary.abandoned), (1, 0, 0));
}

#[tokio::test]
async fn handler_that_does_not_listen_is_dropped_and_its_task_handed_back() {
    let queue = FakeQueue::start().await;
    let stuck = |_: Value, _: Context| std::future::pending::<Result<(), Failure>>();
    let builder = queue.worker().drain_timeout(MOMENT).stop_timeout(MOMENT);
    let worker = spawn(builder.handle("stuck", stuck));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "stuck", 1, "null").await;
    stream.hear_heartbeat().await;
    worker.drain.cancel();
    assert!(matches!(stream.hear_settlements().await[0].outcome, Some(Outcome::Released(_))));
    stream.confirm("t1").await;
    assert_eq!(worker.ended().await.unwrap().released, 1);
}

#[tokio::test]
async fn lease_is_kept_while_blocking_work_cannot_be_stopped() {
    let queue = FakeQueue::start().await;
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let opened = Arc::new(Mutex::new(opened));
    let block = move |_: Value, context: Context| {
        let opened = opened.clone();
        async move { context.blocking(move || Ok(opened.lock().unwrap().recv().is_ok())).await }
    };
    let builder = queue.worker().drain_timeout(MOMENT).stop_timeout(MOMENT);
    let worker = spawn(builder.handle("block", block));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "block", 1, "null").await;
    stream.hear_heartbeat().await;
    worker.drain.cancel();
    // Its handler has long been dropped by the time of the third.
    for _ in 0..3 {
        stream.hear_heartbeat().await;
    }
    open.send(()).unwrap();
    assert!(matches!(stream.hear_settlements().await[0].outcome, Some(Outcome::Released(_))));
    stream.confirm("t1").await;
    assert_eq!(worker.ended().await.unwrap().released, 1);
}

#[tokio::test]
async fn what_waits_for_a_place_goes_back_at_once() {
    let queue = FakeQueue::start().await;
    static STARTED: Notify = Notify::const_new();
    let wait = |_: Value, context: Context| async move {
        STARTED.notify_one();
        context.draining().cancelled().await;
        Ok("done")
    };
    let worker = spawn(queue.worker().prefetch(1).handle("wait", wait));
    let (mut stream, open) = queue.stream().await;
    assert_eq!(open.credit, 2);
    stream.lease("runs", "wait", 1, "null").await;
    stream.lease("waits", "wait", 2, "null").await;
    STARTED.notified().await;
    worker.drain.cancel();
    let mut ended = BTreeMap::new();
    while ended.len() < 2 {
        let settlements = stream.hear_settlements().await;
        stream.confirm_all(&settlements).await;
        let outcome = |one: Settlement| (one.lease.unwrap().task_id, one.outcome.unwrap());
        ended.extend(settlements.into_iter().map(outcome));
    }
    assert!(matches!(ended["runs"], Outcome::Completed(_)) && matches!(ended["waits"], Outcome::Released(_)));
    let summary = worker.ended().await.unwrap();
    assert_eq!((summary.completed, summary.released), (1, 1));
}
