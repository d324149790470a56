//! Layers of tower, and ours, around handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nova_proto::queue::v1::TaskState;
use nova_worker::{
    CancelReason, ConcurrencyLimitLayer, Context, Failure, TaskRequest, TimeoutLayer, handler_fn,
};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceBuilder;

use crate::real_queue::{PATIENCE, RealQueue, Working};

#[tokio::test]
async fn limit_of_a_kind_holds_and_leaves_other_kinds_alone() {
    let queue = RealQueue::start().await;
    let open = Arc::new(Semaphore::new(0));
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let wait = |open: Arc<Semaphore>| {
        move |_: Value, context: Context| {
            let (open, began) = (open.clone(), began.clone());
            async move {
                began.send(context.task.kind).unwrap();
                open.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    };
    let wait = wait(open.clone());
    let limited =
        ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(handler_fn(wait.clone()));
    let mut ids = Vec::new();
    for kind in ["limited", "limited", "limited", "free", "free"] {
        ids.push(queue.put(kind, ()).await);
    }
    let builder = queue.worker().concurrency(5).handle_service("limited", limited).handle("free", wait);
    let working = Working::start(builder);
    let mut first = BTreeMap::<String, u32>::new();
    for _ in 0..3 {
        let kind = tokio::time::timeout(PATIENCE, beginnings.recv()).await.unwrap().unwrap();
        *first.entry(kind).or_default() += 1;
    }
    assert_eq!(first, BTreeMap::from([("free".to_owned(), 2), ("limited".to_owned(), 1)]));
    open.add_permits(5);
    for id in &ids {
        assert_eq!(queue.eventually(id, TaskState::Completed).await.attempts, 1);
    }
    assert_eq!(working.finish().await.completed, 5);
}

#[tokio::test]
async fn attempt_that_takes_too_long_is_told_to_stop_and_fails() {
    let queue = RealQueue::start().await;
    let (told, mut why) = mpsc::unbounded_channel();
    let slow = move |_: Value, context: Context| {
        let told = told.clone();
        async move {
            if context.is_last_attempt() {
                return Ok("at last");
            }
            let watched = context.clone();
            let work = move || {
                while !watched.cancellation().is_cancelled() {
                    std::thread::yield_now();
                }
                told.send(watched.cancel_reason()).unwrap();
                Ok("never")
            };
            context.blocking(work).await
        }
    };
    let id = queue.put("slow", ()).await;
    let builder = queue.worker().handle("slow", slow).layer(TimeoutLayer::new(Duration::from_millis(30)));
    let working = Working::start(builder);
    let task = queue.eventually(&id, TaskState::Completed).await;
    assert_eq!((task.attempts, task.last_error.unwrap().reason.as_str()), (3, "TIMEOUT"));
    assert_eq!(why.recv().await.unwrap(), Some(CancelReason::TimedOut));
    working.finish().await;
}

#[tokio::test]
async fn layer_may_hand_something_to_the_handler_and_change_the_payload() {
    #[derive(Clone)]
    struct Tenant(String);
    let queue = RealQueue::start().await;
    let greet = |name: String, context: Context| async move {
        let tenant = context.extensions.get::<Tenant>().ok_or_else(|| Failure::permanent("NO_TENANT", ""))?;
        Ok(format!("{name} of {}", tenant.0))
    };
    let prepare = |mut request: TaskRequest| {
        request.context.extensions.insert(Tenant("acme".to_owned()));
        request.payload = request.payload.to_ascii_uppercase().into();
        request
    };
    let id = queue.put("greet", "ada").await;
    let builder = queue.worker().handle("greet", greet).layer(tower::util::MapRequestLayer::new(prepare));
    let working = Working::start(builder);
    assert_eq!(queue.eventually(&id, TaskState::Completed).await.result, "\"ADA of acme\"");
    working.finish().await;
}

#[tokio::test]
async fn foreign_error_of_a_layer_is_a_failed_attempt() {
    let queue = RealQueue::start().await;
    let stuck = |_: Value, _: Context| std::future::pending::<Result<(), Failure>>();
    let id = queue.put("stuck", ()).await;
    let layer = tower::timeout::TimeoutLayer::new(Duration::from_millis(5));
    let working = Working::start(queue.worker().handle("stuck", stuck).layer(layer));
    let task = queue.eventually(&id, TaskState::Dead).await;
    assert_eq!((task.attempts, task.last_error.unwrap().reason.as_str()), (3, "HANDLER_FAILED"));
    working.finish().await;
}
