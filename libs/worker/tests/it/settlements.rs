//! What is owed to the queue is told until it is answered, over any number of streams.

use nova_proto::queue::v1::work_request::Message as Said;
use nova_worker::TaskContext;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::fake_queue::{FakeQueue, spawn};

#[tokio::test]
async fn unanswered_result_is_sent_again_on_the_next_stream() {
    let queue = FakeQueue::start().await;
    let _worker =
        spawn(queue.worker().concurrency(2).handler("one", |_: TaskContext, _: Value| async { Ok(1) }));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "one", 7, "null").await;
    let first = stream.hear_settlements().await;
    stream.break_off().await;

    let (mut stream, open) = queue.stream().await;
    assert_eq!(open.credit, 1, "what is owed keeps its place");
    assert_eq!(stream.hear_settlements().await, first);
    stream.confirm("t1").await;
    assert_eq!(stream.hear().await, Said::Credit(1));
}

#[tokio::test]
async fn running_lease_is_kept_on_the_next_stream() {
    let queue = FakeQueue::start().await;
    static OPEN: Semaphore = Semaphore::const_new(0);
    let wait = |_: TaskContext, _: Value| async {
        OPEN.acquire().await.unwrap().forget();
        Ok("done")
    };
    let _worker = spawn(queue.worker().handler("wait", wait));
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
    let _worker = spawn(queue.worker().handler("one", |_: TaskContext, _: Value| async { Ok(1) }));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "one", 7, "null").await;
    stream.hear_settlements().await;
    stream.say_too_late("t1").await;
    assert_eq!(stream.hear().await, Said::Credit(1));
    stream.break_off().await;
    let (_stream, open) = queue.stream().await;
    assert_eq!(open.credit, 1, "nothing is owed any more");
}
