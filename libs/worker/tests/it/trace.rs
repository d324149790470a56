//! A task's life is one tree of spans, whole at any time.

use std::sync::LazyLock;
use std::time::Duration;

use nova_proto::queue::v1::{GetTaskRequest, TaskState};
use nova_runtime::config::TelemetryConfig;
use nova_runtime::telemetry::Telemetry;
use nova_testkit::collector::{Span, Tree};
use nova_testkit::{Collector, soon};
use nova_worker::{Context, Failure};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::real_queue::{PATIENCE, RealQueue, Working};

/// Takes the spans of this whole process; sends them on a runtime that no test ends.
static COLLECTOR: LazyLock<(Collector, tokio::runtime::Runtime, Telemetry)> = LazyLock::new(|| {
    let collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TelemetryConfig {
        otlp_endpoint: collector.endpoint.clone(),
        trace_ratio: 1.0,
        ..TelemetryConfig::default()
    };
    let entered = runtime.enter();
    let telemetry = Telemetry::start("worker", "1", &config).unwrap();
    drop(entered);
    (collector, runtime, telemetry)
});

async fn collector() -> &'static Collector {
    tokio::task::spawn_blocking(|| &COLLECTOR.0).await.unwrap()
}

/// Waits until a task has so many spans of an operation, and answers the tree that they are in.
async fn tree(task: &str, operation: &str, spans: usize) -> Tree {
    let collector = collector().await;
    soon("the spans arrive", PATIENCE, || async {
        let all = Tree { spans: collector.spans() };
        let found = of(&all, operation, task);
        (found.len() == spans).then(|| collector.tree(&found[0].trace))
    })
    .await
}

fn of<'a>(tree: &'a Tree, operation: &str, task: &str) -> Vec<&'a Span> {
    let of_task = |span: &&Span| span.attribute("messaging.message.id") == task;
    tree.operation(operation).into_iter().filter(of_task).collect()
}

#[tokio::test]
async fn life_of_a_task_is_one_tree_and_a_retry_is_linked_to_the_attempt_before() {
    collector().await;
    let queue = RealQueue::start().await;
    let unlucky = |_: Value, context: Context| async move {
        let task_id = context.task.id.clone();
        context.mesh.queue().get_task(GetTaskRequest { task_id, ..Default::default() }).await?;
        if context.attempt == 1 { Err(Failure::new("UNLUCKY", "once")) } else { Ok(context.attempt) }
    };
    let id = queue.put("unlucky", ()).await;
    let working = Working::start(queue.worker().name("w1").handle("unlucky", unlucky));
    queue.eventually(&id, TaskState::Completed).await;
    working.finish().await;

    let tree = tree(&id, "settle", 2).await;
    assert_eq!((tree.roots().len(), tree.orphans().len()), (1, 0), "{tree:?}");
    tree.assert_messages();
    let (sent, received) = (of(&tree, "send", &id), of(&tree, "receive", &id));
    assert_eq!((sent.len(), received.len()), (1, 2));
    assert_eq!(received[0].attribute("messaging.client.id"), "w1");
    let attempts = of(&tree, "process", &id);
    let number = |span: &Span| span.attribute("nova.task.attempt").to_owned();
    assert_eq!((number(attempts[0]), number(attempts[1])), ("1".to_owned(), "2".to_owned()));
    assert_eq!(attempts[0].attribute("error.type"), "UNLUCKY");
    assert_eq!(attempts[1].links, [attempts[0].id.clone()]);
    let settled = of(&tree, "settle", &id);
    assert_eq!(settled[0].attribute("error.type"), "UNLUCKY");
    assert_eq!((&settled[0].parent, &settled[1].parent), (&attempts[0].id, &attempts[1].id));
    let called = |span: &&Span| span.kind == "client" && span.name.ends_with("/GetTask");
    assert!(tree.spans.iter().filter(called).all(|call| attempts.iter().any(|one| one.id == call.parent)));
}

#[tokio::test]
async fn a_retry_by_another_worker_is_linked_to_the_attempt_that_failed() {
    collector().await;
    let mut queue = RealQueue::start().await;
    let id = queue.put("unlucky", ()).await;
    let later = Duration::from_secs(1);
    let fails = move |_: Value, _: Context| async move {
        Err::<(), _>(Failure::new("UNLUCKY", "not here").retry_after(later))
    };
    let first = Working::start(queue.worker().name("first").handle("unlucky", fails));
    queue.until(&id, |task| !task.history.is_empty()).await;
    first.finish().await;
    let failed = queue.get(&id).await.history.pop().unwrap();
    assert_eq!((failed.worker.as_str(), failed.error.unwrap().reason.as_str()), ("first", "UNLUCKY"));
    // What was told of the attempt outlives the daemon.
    queue.restart().await;
    let second =
        Working::start(queue.worker().name("second").handle("unlucky", |_: Value, _| async { Ok(()) }));
    queue.eventually(&id, TaskState::Completed).await;
    second.finish().await;

    let tree = tree(&id, "process", failed.number as usize + 1).await;
    let attempts = of(&tree, "process", &id);
    let [.., before, retry] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!(retry.links, std::slice::from_ref(&before.id));
    assert!(failed.traceparent.contains(&before.id), "{}", failed.traceparent);
}

#[tokio::test]
async fn span_of_a_long_attempt_is_told_while_the_attempt_goes_on() {
    collector().await;
    let queue = RealQueue::start().await;
    static OPEN: Semaphore = Semaphore::const_new(0);
    let long = |_: Value, context: Context| async move {
        OPEN.acquire().await.unwrap().forget();
        let task_id = context.task.id.clone();
        context.mesh.queue().get_task(GetTaskRequest { task_id, ..Default::default() }).await?;
        Ok(context.traceparent())
    };
    let id = queue.put("long", ()).await;
    let working = Working::start(queue.worker().handle("long", long));
    let process = of(&tree(&id, "process", 1).await, "process", &id)[0].clone();
    assert_eq!(queue.get(&id).await.state(), TaskState::Leased);
    OPEN.add_permits(1);
    let task = queue.eventually(&id, TaskState::Completed).await;
    working.finish().await;
    assert!(String::from_utf8_lossy(&task.result).contains(&process.id), "the attempt goes on below it");
    let tree = tree(&id, "settle", 1).await;
    assert_eq!((tree.roots().len(), tree.orphans().len()), (1, 0), "{tree:?}");
    assert_eq!(of(&tree, "settle", &id)[0].parent, process.id);
}
