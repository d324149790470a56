//! What is owed to the queue is told until it is answered, over any number of streams.

use nova_worker::Context;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::fake_queue::{FakeQueue, spawn};

#[tokio::test]
async fn unanswered_result_is_sent_again_on_the_next_stream() {
    let queue = FakeQueue::start().await;
    let _worker = spawn(queue.worker().concurrency(2).handle("one", |_: Value, _: Context| async { Ok(1) }));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "one", 7, "null").await;
    let first = stream.hear_settlements().await;
    stream.break_off().await;

    let (mut stream, open) = queue.stream().await;
    assert_eq!(open.credit, 2, "what has ended takes no place");
    assert_eq!(stream.hear_settlements().await, first);
    stream.confirm("t1").await;
    stream.break_off().await;
    let (mut stream, _) = queue.stream().await;
    stream.lease("t2", "one", 8, "null").await;
    assert_eq!(stream.hear_settlements().await[0].lease.as_ref().unwrap().task_id, "t2", "t1 is not owed");
}

#[tokio::test]
async fn running_lease_is_kept_on_the_next_stream() {
    let queue = FakeQueue::start().await;
    static OPEN: Semaphore = Semaphore::const_new(0);
    let wait = |_: Value, _: Context| async {
        OPEN.acquire().await.unwrap().forget();
        Ok("done")
    };
    let _worker = spawn(queue.worker().handle("wait", wait));
    let (stream, _) = queue.stream().await;
    stream.lease("t1", "wait", 7, "null").await;
    stream.break_off().await;

    let (mut stream, open) = queue.stream().await;
    assert_eq!(open.credit, 0);
    assert_eq!(stream.hear_heartbeat().await[0].token, 7);
    OPEN.add_permits(1);
    assert_eq!(stream.hear_settlements().await[0].lease.as_ref().unwrap().token, 7);
}

#[tokio::test]
async fn result_that_came_too_late_is_not_sent_again() {
    let queue = FakeQueue::start().await;
    let _worker = spawn(queue.worker().handle("one", |_: Value, _: Context| async { Ok(1) }));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "one", 7, "null").await;
    assert_eq!(stream.hear_settle().await.credit, 1, "its place is free at once");
    stream.say_too_late("t1").await;
    stream.break_off().await;
    let (mut stream, _) = queue.stream().await;
    stream.lease("t2", "one", 8, "null").await;
    assert_eq!(stream.hear_settlements().await[0].lease.as_ref().unwrap().task_id, "t2", "t1 is not owed");
}
