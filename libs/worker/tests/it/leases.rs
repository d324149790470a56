//! Leases are kept while their handlers run, and given up when they are lost.

use std::time::Duration;

use nova_proto::queue::v1::settlement::Outcome;
use nova_worker::{CancelReason, Context, Failure};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::fake_queue::{FakeQueue, spawn};

#[tokio::test]
async fn task_reaches_the_handler_of_its_kind_and_its_result_the_queue() {
    let queue = FakeQueue::start().await;
    let greet = |name: String, _: Context| async move { Ok(format!("hello {name}")) };
    let _worker = spawn(queue.worker().concurrency(3).handle("greet", greet));
    let (mut stream, open) = queue.stream().await;
    assert_eq!((open.queues, open.credit), (vec!["q".to_owned()], 3));
    stream.lease("t1", "greet", 7, "\"Ada\"").await;
    let settlement = stream.hear_settlements().await.remove(0);
    assert_eq!(settlement.lease.unwrap().token, 7);
    assert_eq!(settlement.outcome, Some(Outcome::Completed("\"hello Ada\"".into())));
}

#[tokio::test]
async fn lost_lease_stops_its_handler_and_its_result_is_dropped() {
    let queue = FakeQueue::start().await;
    let (told, mut stopped) = mpsc::unbounded_channel();
    let wait = move |_: Value, context: Context| {
        let told = told.clone();
        async move {
            assert_eq!(context.cancelled().await, CancelReason::LeaseLost);
            told.send(context.task.id).unwrap();
            Ok(1)
        }
    };
    let _worker = spawn(queue.worker().handle("wait", wait));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "wait", 7, "null").await;
    assert_eq!(stream.hear_heartbeat().await[0].token, 7);
    stream.say_lost("t1").await;
    assert_eq!(stopped.recv().await.unwrap(), "t1");
    let credit = stream.hear().await;
    assert_eq!(credit, nova_proto::queue::v1::work_request::Message::Credit(1), "its place is free again");
}

#[tokio::test(flavor = "current_thread")]
async fn handler_that_hogs_the_runtime_cannot_stop_heartbeats() {
    let queue = std::thread::spawn(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        (runtime.block_on(FakeQueue::start()), runtime)
    });
    let (queue, runtime) = queue.join().unwrap();
    let (told, heard) = std::sync::mpsc::channel::<usize>();
    let heard = std::sync::Mutex::new(heard);
    let hog = move |_: Value, _: Context| {
        // Blocks the only thread of this runtime until the queue has heard three heartbeats.
        let beats = heard.lock().unwrap().recv_timeout(Duration::from_secs(20));
        async move { beats.map_err(|error| Failure::new("SILENT", error)) }
    };
    let worker = queue.worker().handle("hog", hog).build().unwrap();
    let said = runtime.handle().spawn(async move {
        let (mut stream, _) = queue.stream().await;
        stream.lease("t1", "hog", 7, "null").await;
        for _ in 0..3 {
            stream.hear_heartbeat().await;
        }
        told.send(3).unwrap();
        stream.hear_settlements().await.remove(0).outcome
    });
    let drain = tokio_util::sync::CancellationToken::new();
    tokio::select! {
        outcome = said => assert_eq!(outcome.unwrap(), Some(Outcome::Completed("3".into()))),
        ended = worker.run(drain) => panic!("the worker ended: {ended:?}"),
    }
    runtime.shutdown_background();
}

#[tokio::test]
async fn kind_without_a_handler_is_handed_back() {
    let queue = FakeQueue::start().await;
    let count = |number: u32, _: Context| async move { Ok(number) };
    let _worker = spawn(queue.worker().handle("count", count));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "other", 1, "1").await;
    let outcome = stream.hear_settlements().await.remove(0).outcome;
    let Some(Outcome::Released(released)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(released.delay.map(|delay| delay.seconds), Some(5));
}

#[tokio::test]
async fn kind_without_a_handler_and_bad_payloads_fail_for_good() {
    let queue = FakeQueue::start().await;
    let count = |number: u32, _: Context| async move { Ok(number) };
    let _worker = spawn(queue.worker().concurrency(2).handle("count", count).fail_unknown_kinds());
    let (mut stream, _) = queue.stream().await;
    for (kind, payload, reason) in [("other", "1", "UNKNOWN_KIND"), ("count", "\"x\"", "INVALID_PAYLOAD")] {
        stream.lease(kind, kind, 1, payload).await;
        let Some(Outcome::Failed(failure)) = stream.hear_settlements().await.remove(0).outcome else {
            panic!()
        };
        assert_eq!((failure.error.unwrap().reason.as_str(), failure.permanent), (reason, true));
        stream.confirm(kind).await;
    }
}

#[tokio::test]
async fn panic_of_a_handler_is_a_failed_attempt() {
    let queue = FakeQueue::start().await;
    let fall = |_: Value, _: Context| async move {
        if true {
            panic!("as the test wants it");
        }
        Ok(1)
    };
    let _worker = spawn(queue.worker().handle("fall", fall));
    let (mut stream, _) = queue.stream().await;
    stream.lease("t1", "fall", 7, "null").await;
    let Some(Outcome::Failed(failure)) = stream.hear_settlements().await.remove(0).outcome else { panic!() };
    assert_eq!((failure.error.unwrap().reason.as_str(), failure.permanent), ("HANDLER_PANICKED", false));
}
