//! A drain ends what was begun, hands back what was not, and then the worker ends.

use nova_proto::queue::v1::settlement::Outcome;
use nova_worker::{TaskContext, WorkerError};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

use crate::fake_queue::{FakeQueue, spawn};

#[tokio::test]
async fn drain_finishes_what_runs_and_releases_what_comes() {
    static STARTED: Notify = Notify::const_new();
    static OPEN: Semaphore = Semaphore::const_new(0);
    let queue = FakeQueue::start().await;
    let wait = |_: TaskContext, _: Value| async {
        STARTED.notify_one();
        OPEN.acquire().await.unwrap().forget();
        Ok("done")
    };
    let worker = spawn(queue.worker().concurrency(2).handler("wait", wait));
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
    let worker = spawn(queue.worker().handler("any", |_: TaskContext, _: Value| async { Ok(1) }));
    let (_stream, _) = queue.stream().await;
    worker.drain.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn drain_does_not_wait_for_ever() {
    let queue = FakeQueue::start().await;
    let stuck = |_: TaskContext, _: Value| async {
        std::future::pending::<()>().await;
        Ok(1)
    };
    let worker =
        spawn(queue.worker().drain_timeout(std::time::Duration::from_millis(50)).handler("stuck", stuck));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "stuck", 1, "null").await;
    stream.hear_heartbeat().await;
    worker.drain.cancel();
    assert!(matches!(worker.ended().await, Err(WorkerError::Undrained(_))));
}
