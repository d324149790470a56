//! What a producer says of a task, and what the queue has then.

use std::time::Duration;

use nova_proto::queue::v1 as pb;
use nova_proto::queue::v1::TaskState;
use nova_testkit::soon;
use nova_worker::{Context, Failure, NewTask, Producer};
use tokio::task::JoinSet;
use tonic::Code;

use crate::real_queue::{PATIENCE, RealQueue, Working};

const HOUR: Duration = Duration::from_secs(3_600);

/// A task with every field set but those of flows.
fn whole(parent: &str) -> NewTask {
    NewTask::from_bytes("q", "whole", "{}")
        .request_id("r-1")
        .unique_key("u-1")
        .unique_for(HOUR)
        .group("tenant")
        .priority(7)
        .label("k", "v")
        .delay(2 * HOUR)
        .deadline(3 * HOUR)
        .attempt_timeout(4 * HOUR)
        .max_attempts(9)
        .backoff(HOUR, 5 * HOUR)
        .backoff_factor(1.5)
        .after([parent])
        .run_after_failure()
}

/// The same as the contract writes it.
fn whole_on_the_wire(parent: &str) -> pb::NewTask {
    let hours = |hours: i64| Some(prost_types::Duration { seconds: hours * 3_600, nanos: 0 });
    let (initial_backoff, max_backoff) = (hours(1), hours(5));
    pb::NewTask {
        queue: "q".into(),
        kind: "whole".into(),
        payload: "{}".into(),
        metadata: [("k".into(), "v".into())].into(),
        request_id: "r-1".into(),
        unique_key: "u-1".into(),
        unique_for: hours(1),
        group: "tenant".into(),
        priority: 7,
        delay: hours(2),
        deadline: hours(3),
        attempt_timeout: hours(4),
        retry: Some(pb::RetryPolicy { max_attempts: 9, initial_backoff, factor: 1.5, max_backoff }),
        after: vec![parent.into()],
        after_index: vec![],
        run_after_failure: true,
    }
}

#[tokio::test]
async fn every_field_reaches_the_queue() {
    let queue = RealQueue::start().await;
    let producer = Producer::new(queue.mesh()).namespace("other");
    let parent = producer.enqueue(NewTask::new("q", "parent", &()).unwrap()).await.unwrap().id;
    let stored = producer.enqueue(whole(&parent)).await.unwrap();
    assert!(!stored.duplicate);

    // A key that is known demands the very same body: a field that was not sent would be a mismatch.
    let tasks = vec![whole_on_the_wire(&parent)];
    let again = pb::EnqueueRequest { namespace: "other".into(), tasks };
    let again = queue.mesh().queue().enqueue(again).await.unwrap().into_inner().tasks;
    assert_eq!((again[0].id.as_str(), again[0].duplicate), (stored.id.as_str(), true));

    let request = pb::GetTaskRequest { namespace: "other".into(), task_id: stored.id, wait: None };
    let task = queue.mesh().queue().get_task(request).await.unwrap().into_inner().task.unwrap();
    assert_eq!((task.request_id.as_str(), task.unique_key.as_str()), ("r-1", "u-1"));
    assert_eq!((task.group.as_str(), task.priority, task.max_attempts), ("tenant", 7, 9));
    assert_eq!((task.after, task.blocked_by, task.metadata.len()), (vec![parent], 1, 1));
    let made = task.create_time.unwrap();
    let after = |time: Option<prost_types::Timestamp>| time.unwrap().seconds - made.seconds;
    assert_eq!((after(task.ready_time), after(task.deadline_time)), (2 * 3_600, 3 * 3_600));
}

#[tokio::test]
async fn tasks_of_one_call_wait_for_each_other() {
    let queue = RealQueue::start().await;
    let task = |kind| NewTask::new("q", kind, &()).unwrap();
    let flow = [
        task("fetch"),
        task("parse").after_index([0]).max_attempts(1),
        task("store").after_index([0, 1]),
        task("tidy").after_index([1]).run_after_failure(),
    ];
    let stored = Producer::new(queue.mesh()).enqueue_all(flow).await.unwrap();
    let ids: Vec<_> = stored.into_iter().map(|task| task.id).collect();
    let parents = queue.get(&ids[2]).await.after;
    assert!(parents.len() == 2 && ids[..2].iter().all(|id| parents.contains(id)), "{parents:?}");

    let done = |(): (), _: Context| async { Ok(()) };
    let fail = |(): (), _: Context| async { Err::<(), _>(Failure::new("BAD_INPUT", "no JSON")) };
    let worker = queue.worker().handle("fetch", done).handle("tidy", done).handle("store", done);
    let working = Working::start(worker.handle("parse", fail));
    for (id, state) in ids.iter().zip([TaskState::Completed, TaskState::Dead]) {
        queue.eventually(id, state).await;
    }
    queue.eventually(&ids[3], TaskState::Completed).await;
    assert_eq!(queue.get(&ids[2]).await.state(), TaskState::Waiting);
    assert_eq!(working.finish().await.completed, 2);
}

#[tokio::test]
async fn a_time_that_no_message_can_hold_is_refused() {
    let queue = RealQueue::start().await;
    let task = NewTask::new("q", "k", &()).unwrap().delay(Duration::MAX);
    let refused = Producer::new(queue.mesh()).enqueue(task).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("tasks[0].delay"), "{refused}");
}

/// Calls over a wire on which no answer comes back, and mends it once the queue has stored something.
async fn cut_before_the_answer<T>(queue: &RealQueue, call: impl Future<Output = T>) -> T {
    queue.wire.swallow_answers();
    let cut = async {
        soon("the task is stored", PATIENCE, || async { queue.all().await.pop() }).await;
        queue.join_wire();
    };
    tokio::join!(call, cut).0
}

#[tokio::test]
async fn a_task_whose_answer_was_lost_is_stored_once() {
    let queue = RealQueue::start().await;
    let producer = Producer::new(queue.far_mesh());
    let call = producer.enqueue(NewTask::new("q", "k", &()).unwrap());
    let stored = cut_before_the_answer(&queue, call).await.unwrap();
    let all = queue.all().await;
    assert_eq!(all.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), [stored.id.as_str()]);
    assert!(!stored.duplicate, "the call was repeated, not made again");
}

#[tokio::test]
async fn a_call_without_a_key_is_not_repeated_once_it_may_have_arrived() {
    let queue = RealQueue::start().await;
    let task = pb::NewTask { queue: "q".into(), kind: "k".into(), ..Default::default() };
    let request = pb::EnqueueRequest { tasks: vec![task], ..Default::default() };
    let mut client = queue.far_mesh().queue();
    let call = client.enqueue(request);
    let status = cut_before_the_answer(&queue, call).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(queue.all().await.len(), 1);
}

#[tokio::test]
async fn who_waits_for_a_result_gets_it_though_the_queue_restarts() {
    let mut queue = RealQueue::start().await;
    let id = queue.put("late", ()).await;
    let producer = Producer::new(queue.far_mesh());
    let brief = producer.wait(&id, Duration::from_millis(1)).await.unwrap();
    assert_eq!(brief.state(), TaskState::Ready, "it is answered as it is");
    let waited = producer.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { waited.wait(&id, PATIENCE).await });
    queue.wire.cut();
    queue.restart().await;
    let working = Working::start(queue.worker().handle("late", |(): (), _: Context| async { Ok("done") }));
    let ended = waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!((ended.state(), &ended.result[..]), (TaskState::Completed, &br#""done""#[..]));
    working.finish().await;
    let unknown = producer.wait("01890a5d-ac96-774b-bcce-b302099a8057", PATIENCE).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}
