//! What attempts say of themselves while they go on, and what they leave for the next one.

use std::time::Duration;

use nova_proto::queue::v1::settlement::Outcome;
use nova_proto::queue::v1::{Task, TaskState};
use nova_worker::{CancelReason, Context, Failure};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use crate::fake_queue::{FakeQueue, spawn};
use crate::real_queue::{PATIENCE, RealQueue, Working};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn progress_in_quick_succession_is_sent_once() {
    let queue = FakeQueue::start().await;
    let climb = |_: Value, context: Context| async move {
        for step in 1..=3 {
            context.progress(f64::from(step) / 4.0, &format!("step {step}"));
        }
        Ok(context.cancelled().await.to_string())
    };
    let _worker = spawn(queue.worker().handle("climb", climb));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "climb", 7, "null").await;
    let report = stream.hear_report().await;
    assert_eq!((report.lease.unwrap().token, report.checkpoint), (7, None));
    let progress = report.progress.unwrap();
    assert_eq!((progress.fraction, progress.note.as_str()), (0.75, "step 3"));
}

#[tokio::test]
async fn checkpoint_is_sent_until_the_queue_has_it_over_any_number_of_streams() {
    let queue = FakeQueue::start().await;
    let save = |_: Value, context: Context| async move { context.save_checkpoint(&[1, 2]).await };
    let _worker = spawn(queue.worker().handle("save", save));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "save", 7, "null").await;
    let first = stream.hear_report().await;
    assert_eq!(first.checkpoint.as_deref(), Some(&b"[1,2]"[..]));
    stream.break_off().await;

    let (mut stream, _) = queue.stream().await;
    assert_eq!(stream.hear_report().await, first);
    stream.say_kept("t1").await;
    let settlement = stream.hear_settlements().await.remove(0);
    assert_eq!(settlement.outcome, Some(Outcome::Completed("null".into())));
}

#[tokio::test]
async fn checkpoint_under_a_lost_lease_fails() {
    let queue = FakeQueue::start().await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let save = move |_: Value, context: Context| {
        let told = told.clone();
        async move {
            let failure = context.save_checkpoint("late").await.unwrap_err();
            told.send((failure.reason().to_owned(), context.cancelled().await)).unwrap();
            Err::<(), _>(failure)
        }
    };
    let _worker = spawn(queue.worker().handle("save", save));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "save", 7, "null").await;
    stream.hear_report().await;
    stream.say_lost("t1").await;
    assert_eq!(heard.recv().await, Some(("LEASE_LOST".to_owned(), CancelReason::LeaseLost)));
}

#[tokio::test]
async fn handler_reads_what_the_attempt_before_left() {
    let queue = FakeQueue::start().await;
    let read = |_: Value, context: Context| async move {
        Ok((context.checkpoint::<u32>()?, context.checkpoint_bytes().len()))
    };
    let _worker = spawn(queue.worker().concurrency(3).handle("read", read));
    let (mut stream, _) = queue.stream().await;
    for (checkpoint, result) in [("", "[null,0]"), ("41", "[41,2]")] {
        let task = Task { checkpoint: checkpoint.into(), ..task(checkpoint) };
        stream.lease_task(task, 7).await;
        let outcome = stream.hear_settlements().await.remove(0).outcome;
        assert_eq!(outcome, Some(Outcome::Completed(result.into())));
    }
    stream.lease_task(Task { checkpoint: "no number".into(), ..task("x") }, 7).await;
    let Some(Outcome::Failed(failed)) = stream.hear_settlements().await.remove(0).outcome else { panic!() };
    assert_eq!((failed.error.unwrap().reason.as_str(), failed.permanent), ("INVALID_CHECKPOINT", false));
}

fn task(id: &str) -> Task {
    Task { id: format!("t{id}"), queue: "q".into(), kind: "read".into(), ..Task::default() }
}

#[tokio::test]
async fn result_that_the_queue_would_not_take_is_a_failure_and_the_worker_goes_on() {
    let queue = RealQueue::start().await;
    let large = |length: usize, _: Context| async move { Ok("x".repeat(length)) };
    let ids = [queue.put("large", 1 << 20).await, queue.put("large", 1).await];
    let working = Working::start(queue.worker().handle("large", large));
    let task = queue.eventually(&ids[0], TaskState::Dead).await;
    assert_eq!(task.last_error.unwrap().reason, "INVALID_RESULT");
    queue.eventually(&ids[1], TaskState::Completed).await;
    working.finish().await;
}

#[tokio::test]
async fn progress_is_shown_while_the_attempt_goes_on() {
    let queue = RealQueue::start().await;
    let climb = |_: Value, context: Context| async move {
        context.progress(0.5, &"ä".repeat(1_000));
        context.draining().cancelled().await;
        Ok(())
    };
    let id = queue.put("climb", ()).await;
    let working = Working::start(queue.worker().lease_duration(HOUR).handle("climb", climb));
    let task = queue.until(&id, |task| task.progress.is_some()).await;
    let progress = task.progress.unwrap();
    assert_eq!((progress.fraction, progress.note.len() <= 256), (0.5, true));
    assert_eq!(working.finish().await.completed, 1);
}

#[tokio::test]
async fn next_attempt_goes_on_from_the_checkpoint_and_its_own_replaces_it() {
    let queue = RealQueue::start().await;
    let count = |_: Value, context: Context| async move {
        let done = context.checkpoint::<u32>()?.unwrap_or(0);
        if done == 2 {
            return Ok(done);
        }
        context.save_checkpoint(&(done + 1)).await?;
        Err(Failure::new("AGAIN", "one step for each attempt"))
    };
    let id = queue.put("count", ()).await;
    let working = Working::start(queue.worker().handle("count", count));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts), (&b"2"[..], 3));
    working.finish().await;
}

#[tokio::test]
async fn checkpoint_that_finds_no_wire_is_saved_once_there_is_one() {
    let queue = RealQueue::start().await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    static OPEN: Semaphore = Semaphore::const_new(0);
    let save = move |_: Value, context: Context| {
        began.send(()).unwrap();
        async move {
            OPEN.acquire().await.unwrap().forget();
            context.save_checkpoint("kept").await?;
            Err::<(), _>(Failure::permanent("DONE", "the checkpoint is the queue's"))
        }
    };
    let id = queue.put("save", ()).await;
    let working = Working::start(queue.worker().lease_duration(PATIENCE).handle("save", save));
    beginnings.recv().await.unwrap();
    queue.wire.cut();
    OPEN.add_permits(1);
    queue.join_wire();
    let task = queue.eventually(&id, TaskState::Dead).await;
    assert_eq!(task.last_error.unwrap().reason, "DONE");
    working.finish().await;
}

#[tokio::test]
async fn snoozed_task_waits_and_its_attempt_does_not_count() {
    let queue = RealQueue::start().await;
    let snooze = |_: Value, context: Context| async move {
        context.save_checkpoint("seen").await?;
        Err::<(), _>(Failure::snooze(HOUR))
    };
    let id = queue.put("snooze", ()).await;
    let working = Working::start(queue.worker().handle("snooze", snooze));
    let task = queue.until(&id, |task| task.state() == TaskState::Waiting).await;
    assert_eq!((task.attempts, &task.checkpoint[..]), (0, &b"\"seen\""[..]));
    assert!(task.ready_time.unwrap().seconds - task.update_time.unwrap().seconds >= 3_599);
    assert_eq!(working.finish().await.released, 1);
}

#[tokio::test]
async fn snoozed_task_comes_back_by_itself() {
    let queue = RealQueue::start().await;
    let twice = |_: Value, context: Context| async move {
        match context.checkpoint::<bool>()? {
            Some(_) => Ok(context.attempt),
            None => {
                context.save_checkpoint(&true).await?;
                Err(Failure::snooze(Duration::from_millis(20)))
            }
        }
    };
    let id = queue.put("twice", ()).await;
    let working = Working::start(queue.worker().handle("twice", twice));
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts), (&b"1"[..], 1));
    let summary = working.finish().await;
    assert_eq!((summary.completed, summary.released), (1, 1));
}
