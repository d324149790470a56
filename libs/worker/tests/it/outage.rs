//! What becomes of leases when threads are busy, wires break and daemons go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nova_proto::queue::v1::TaskState;
use nova_testkit::soon;
use nova_worker::{CancelReason, Context, Failure};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use crate::real_queue::{PATIENCE, RealQueue, Working};

/// Both threads of the worker's runtime are blocked until their leases have been extended beyond twice their length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_block_every_thread_keep_their_leases() {
    let queue = RealQueue::start().await;
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ids = [queue.put("hog", ()).await, queue.put("hog", ()).await];
    let open = Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    let shared = open.clone();
    let hog = move |_: Value, context: Context| {
        let (open, opened) = &*shared;
        let is_open = opened.wait_timeout_while(open.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        drop(is_open);
        async move { Ok(context.attempt) }
    };
    let worker = queue.worker().concurrency(2).handle("hog", hog).build().unwrap();
    let drain = tokio_util::sync::CancellationToken::new();
    let ended = threads.spawn(worker.run(drain.clone()));
    for id in &ids {
        let first = queue.eventually(id, TaskState::Leased).await.lease_expire_time.unwrap();
        queue.until(id, |task| task.lease_expire_time.unwrap_or_default().seconds > first.seconds + 1).await;
    }
    *open.0.lock().unwrap() = true;
    open.1.notify_all();
    for id in &ids {
        assert_eq!(queue.eventually(id, TaskState::Completed).await.attempts, 1);
    }
    drain.cancel();
    assert_eq!(ended.await.unwrap().unwrap().completed, 2);
    threads.shutdown_background();
}

#[tokio::test]
async fn worker_that_was_cut_off_stops_and_its_late_result_has_no_effect() {
    let queue = RealQueue::start().await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let (told, mut why) = mpsc::unbounded_channel();
    let wait = move |_: Value, context: Context| {
        let (began, told) = (began.clone(), told.clone());
        async move {
            began.send(()).unwrap();
            let ended = || async { context.lease_remaining().is_zero().then_some(()) };
            soon("the lease ends", PATIENCE, ended).await;
            assert_eq!(context.cancel_reason(), None, "an outage is no reason to stop");
            began.send(()).unwrap();
            told.send(context.cancelled().await).unwrap();
            Ok("late")
        }
    };
    let id = queue.put("wait", ()).await;
    let first = Working::start(queue.worker().handle("wait", wait));
    beginnings.recv().await.unwrap();
    queue.wire.cut();
    tokio::time::timeout(PATIENCE, beginnings.recv()).await.unwrap().expect("the lease is in doubt");
    let prompt = |_: Value, context: Context| async move { Ok(context.attempt) };
    let second = Working::start(nova_worker::Worker::builder(queue.mesh()).queue("q").handle("wait", prompt));
    let task = queue.eventually(&id, TaskState::Completed).await;
    queue.join_wire();
    assert_eq!(tokio::time::timeout(PATIENCE, why.recv()).await.unwrap(), Some(CancelReason::LeaseLost));
    let summary = first.finish().await;
    assert_eq!((summary.completed, summary.lost, summary.abandoned), (0, 1, 0));
    assert_eq!((&queue.get(&id).await.result[..], task.attempts), (&b"2"[..], 2));
    assert_eq!(second.finish().await.completed, 1);
}

#[tokio::test]
async fn what_runs_outlives_a_restart_of_the_daemon() {
    let mut queue = RealQueue::start().await;
    let open = Arc::new(Semaphore::new(0));
    let shared = open.clone();
    let wait = move |_: Value, context: Context| {
        let open = shared.clone();
        async move {
            open.acquire().await.map_err(|error| Failure::new("CLOSED", error))?.forget();
            Ok(context.attempt)
        }
    };
    let ids = [queue.put("wait", ()).await, queue.put("wait", ()).await];
    let working = Working::start(queue.worker().concurrency(2).handle("wait", wait));
    for id in &ids {
        queue.eventually(id, TaskState::Leased).await;
    }
    queue.restart().await;
    open.add_permits(3);
    for id in &ids {
        assert_eq!(queue.eventually(id, TaskState::Completed).await.attempts, 1);
    }
    let after = queue.put("wait", ()).await;
    queue.eventually(&after, TaskState::Completed).await;
    assert_eq!(working.finish().await.completed, 3);
}

#[tokio::test]
async fn result_that_finds_no_wire_is_told_once_there_is_one() {
    let queue = RealQueue::start().await;
    let runs = Arc::new(AtomicU32::new(0));
    let (counted, (told, mut done)) = (runs.clone(), mpsc::unbounded_channel());
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    let shared = open.clone();
    let once = move |_: Value, _: Context| {
        let (counted, told, open, began) = (counted.clone(), told.clone(), shared.clone(), began.clone());
        async move {
            began.send(()).unwrap();
            open.acquire().await.unwrap().forget();
            told.send(()).unwrap();
            Ok(counted.fetch_add(1, Ordering::Relaxed) + 1)
        }
    };
    let id = queue.put("once", ()).await;
    let builder = queue.worker().lease_duration(PATIENCE);
    let working = Working::start(builder.handle("once", once));
    beginnings.recv().await.unwrap();
    queue.wire.cut();
    open.add_permits(1);
    done.recv().await.unwrap();
    queue.join_wire();
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((&task.result[..], task.attempts, runs.load(Ordering::Relaxed)), (&b"1"[..], 1, 1));
    working.finish().await;
}
