//! Typed tasks, from a producer through the daemon and a handler to their end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nova_proto::queue::v1::{CancelTasksRequest, TaskState};
use nova_worker::{CancelReason, Context, Failure, OrFail as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::real_queue::{PATIENCE, RealQueue, Working};

#[derive(Serialize, Deserialize)]
struct Resize {
    width: u32,
}

#[derive(Serialize)]
struct Resized {
    pixels: u32,
}

#[tokio::test]
async fn typed_task_ends_with_its_result() {
    let queue = RealQueue::start().await;
    let id = queue.put("resize", Resize { width: 7 }).await;
    let resize = |task: Resize, _: Context| async move { Ok(Resized { pixels: task.width * task.width }) };
    let working = Working::start(queue.worker().handle("resize", resize));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts), (&br#"{"pixels":49}"#[..], 1));
    assert_eq!(working.finish().await.completed, 1);
}

#[tokio::test]
async fn failure_is_tried_again_and_a_panic_too_each_time_under_a_greater_token() {
    let queue = RealQueue::start().await;
    let (tell, mut tokens) = mpsc::unbounded_channel();
    let unlucky = move |(): (), context: Context| {
        tell.send(context.token).unwrap();
        async move {
            match context.attempt {
                1 => Err(Failure::new("UNLUCKY", "once")),
                2 => panic!("twice"),
                attempt => Ok(attempt),
            }
        }
    };
    let id = queue.put("unlucky", ()).await;
    let working = Working::start(queue.worker().handle("unlucky", unlucky));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!(task.attempts, 3);
    let error = task.last_error.unwrap();
    assert_eq!(
        (error.reason.as_str(), error.message.as_str()),
        ("HANDLER_PANICKED", "the handler panicked: twice")
    );
    let summary = working.finish().await;
    assert_eq!((summary.completed, summary.failed), (1, 2));
    let mut given = [0; 3];
    for token in &mut given {
        *token = tokens.recv().await.unwrap();
    }
    assert!(0 < given[0] && given[0] < given[1] && given[1] < given[2], "{given:?}");
}

#[tokio::test]
async fn permanent_failure_and_bad_payload_are_dead_at_once() {
    let queue = RealQueue::start().await;
    let refuse = |text: String, _: Context| async move { text.parse::<u32>().or_fail_for_good("NO_NUMBER") };
    let ids = [queue.put("refuse", "x").await, queue.put("refuse", 1).await, queue.put("unknown", 1).await];
    let working = Working::start(queue.worker().handle("refuse", refuse).fail_unknown_kinds());
    for (id, reason) in ids.iter().zip(["NO_NUMBER", "INVALID_PAYLOAD", "UNKNOWN_KIND"]) {
        let task = queue.eventually(id, TaskState::Dead).await;
        assert_eq!((task.attempts, task.last_error.unwrap().reason.as_str()), (1, reason));
    }
    assert_eq!(working.finish().await.failed, 3);
}

#[tokio::test]
async fn a_kind_that_an_old_worker_does_not_know_waits_for_a_newer_one() {
    let queue = RealQueue::start().await;
    let done = |(): (), context: Context| async move { Ok(context.attempt) };
    let id = queue.put("new", ()).await;
    let old = Working::start(queue.worker().handle("old", done));
    queue.until(&id, |task| task.state() == TaskState::Waiting && task.attempts == 0).await;
    assert!(old.finish().await.released > 0);
    let newer = Working::start(queue.worker().handle("old", done).handle("new", done));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts), (&b"1"[..], 1));
    assert_eq!(newer.finish().await.completed, 1);
}

#[tokio::test]
async fn released_task_is_given_out_again_and_the_attempt_does_not_count() {
    let queue = RealQueue::start().await;
    let seen = Arc::new(Mutex::new(0));
    let release = move |(): (), context: Context| {
        let seen = seen.clone();
        async move {
            let mut seen = seen.lock().unwrap();
            *seen += 1;
            if *seen < 3 { Err(Failure::release()) } else { Ok(context.attempt) }
        }
    };
    let id = queue.put("release", ()).await;
    let working = Working::start(queue.worker().handle("release", release));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts), (&b"1"[..], 1));
    let summary = working.finish().await;
    assert_eq!((summary.completed, summary.released), (1, 2));
}

#[tokio::test]
async fn each_of_many_tasks_is_done_once() {
    let queue = RealQueue::start().await;
    let mut ids = Vec::new();
    for number in 0..300 {
        ids.push(queue.put("count", number).await);
    }
    let done = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
    let counted = done.clone();
    let count = move |number: u32, _: Context| {
        *counted.lock().unwrap().entry(number).or_default() += 1;
        async move { Ok(number) }
    };
    let working = Working::start(queue.worker().concurrency(16).prefetch(16).handle("count", count));
    for id in &ids {
        queue.eventually(id, TaskState::Completed).await;
    }
    assert_eq!(working.finish().await.completed, 300);
    let done = done.lock().unwrap();
    assert!(done.len() == 300 && done.values().all(|times| *times == 1), "{done:?}");
}

#[tokio::test]
async fn cancelled_task_stops_its_handler_at_once() {
    let queue = RealQueue::start().await;
    let (told, mut why) = mpsc::unbounded_channel();
    let wait = move |(): (), context: Context| {
        let told = told.clone();
        async move {
            told.send(context.cancelled().await).unwrap();
            Ok("late")
        }
    };
    let id = queue.put("wait", ()).await;
    // No heartbeat is due before the test has ended: the stream tells.
    let working = Working::start(queue.worker().lease_duration(PATIENCE * 10).handle("wait", wait));
    queue.eventually(&id, TaskState::Leased).await;
    let request = CancelTasksRequest { task_ids: vec![id.clone()], ..CancelTasksRequest::default() };
    queue.mesh().queue().cancel_tasks(request).await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, why.recv()).await.unwrap();
    assert_eq!(reason, Some(CancelReason::TaskCancelled));
    let summary = working.finish().await;
    assert_eq!((summary.cancelled, summary.completed, summary.lost), (1, 0, 0));
    assert_eq!(queue.get(&id).await.state(), TaskState::Cancelled);
}
