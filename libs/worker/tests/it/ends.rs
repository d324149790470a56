//! How workers end, well and badly, and what becomes of their tasks.
//!
//! The child is this very test binary, told by its environment to work.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nova_proto::queue::v1::TaskState;
use nova_worker::{Context, Failure};
use serde_json::Value;

use crate::real_queue::{RealQueue, Working, worker};

const QUEUE: &str = "NOVA_WORKER_TEST_QUEUE";

/// What the child runs; in any other process it does nothing.
#[tokio::test]
async fn a_child_works_until_it_is_told_to_end_or_killed() {
    let Ok(address) = std::env::var(QUEUE) else { return };
    let address: SocketAddr = address.parse().unwrap();
    let wait = |_: Value, _: Context| std::future::pending::<Result<(), Failure>>();
    let half = |_: Value, context: Context| async move {
        context.save_checkpoint("half").await?;
        std::future::pending::<Result<(), Failure>>().await
    };
    let moment = Duration::from_millis(20);
    let builder = worker(address).drain_timeout(moment).stop_timeout(moment);
    let builder = builder.handle("wait", wait).handle("half", half);
    let summary = builder.build().unwrap().run_until_signal().await.unwrap();
    assert_eq!((summary.released, summary.abandoned), (1, 0));
}

fn child(address: SocketAddr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends::a_child_works_until_it_is_told_to_end_or_killed", "--nocapture"])
        .env(QUEUE, address.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn task_of_a_killed_worker_is_done_by_another() {
    let queue = RealQueue::start().await;
    let id = queue.put("wait", ()).await;
    let mut child = child(queue.wire.address);
    queue.eventually(&id, TaskState::Leased).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let prompt = |_: Value, context: Context| async move { Ok(context.attempt) };
    let working = Working::start(queue.worker().handle("wait", prompt));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts), (&b"2"[..], 2));
    working.finish().await;
}

#[tokio::test]
async fn task_of_a_killed_worker_goes_on_from_its_checkpoint() {
    let queue = RealQueue::start().await;
    let id = queue.put("half", ()).await;
    let mut child = child(queue.wire.address);
    queue.until(&id, |task| !task.checkpoint.is_empty()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let rest = |_: Value, context: Context| async move {
        let done = context.checkpoint::<String>()?.unwrap_or_default();
        Ok(format!("{done}, then the rest in attempt {}", context.attempt))
    };
    let working = Working::start(queue.worker().handle("half", rest));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!(task.result, "\"half, then the rest in attempt 2\"");
    working.finish().await;
}

#[tokio::test]
async fn sigterm_hands_back_what_runs_and_the_process_ends_well() {
    let queue = RealQueue::start().await;
    let id = queue.put("wait", ()).await;
    let mut child = child(queue.wire.address);
    queue.eventually(&id, TaskState::Leased).await;
    nova_testkit::send("TERM", child.id());
    let task = queue.eventually(&id, TaskState::Ready).await;
    assert_eq!(task.attempts, 0, "the attempt does not count");
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn drain_hands_back_what_waits_and_finishes_what_runs() {
    let queue = RealQueue::start().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(queue.put("wait", ()).await);
    }
    let wait = |_: Value, context: Context| async move {
        context.draining().cancelled().await;
        Ok(context.attempt)
    };
    let working = Working::start(queue.worker().prefetch(3).handle("wait", wait));
    for id in &ids {
        queue.eventually(id, TaskState::Leased).await;
    }
    let summary = working.finish().await;
    assert_eq!((summary.completed, summary.released, summary.abandoned), (1, 3, 0));
    let mut ready = 0;
    for id in &ids {
        let task = queue.get(id).await;
        ready += usize::from(task.state() == TaskState::Ready && task.attempts == 0);
    }
    assert_eq!(ready, 3);
}
