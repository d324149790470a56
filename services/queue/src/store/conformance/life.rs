//! From enqueue to the end.

use std::time::Duration;

use super::{Home, Verbs as _, ask, completed, eventually, failed, keyed, refer, task};
use crate::{
    Error,
    config::Config,
    core::body_hash,
    record::{LeaseRequest, NewTask, Settled},
    task::State,
};

pub(super) async fn a_task_lives_from_enqueue_to_completion(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("in")).await.id;
    assert_eq!(store.state(id).await, Some(State::Ready));
    let lease = store.take_one().await;
    assert_eq!((lease.task.id, lease.task.status.attempts), (id, 1));
    assert_eq!(lease.task.payload.as_deref(), Some(&b"in"[..]));
    assert_eq!(lease.task.spec.label("run"), Some("7"));
    assert_eq!(&*lease.task.status.worker, "w-1");
    store.end(refer(&lease), completed("out")).await;
    let ended = store.task(&"default".into(), id).await.unwrap().unwrap();
    assert_eq!(ended.status.state, State::Completed);
    assert_eq!(ended.result.as_deref(), Some(&b"out"[..]));
    assert_eq!(ended.payload.as_deref(), Some(&b"in"[..]));
    assert_eq!(ended.spec.traceparent, task("in").spec.traceparent);
    assert!(store.take(ask(1)).await.is_empty());
}

pub(super) async fn tasks_leave_by_priority_and_then_in_order(home: &dyn Home) {
    let store = home.open().await;
    for (payload, priority) in [("low", 0), ("first", 9), ("second", 9), ("middle", 5)] {
        let mut task = task(payload);
        task.spec.priority = priority;
        store.put(task).await;
    }
    let leases = store.take(ask(10)).await;
    let order: Vec<_> = leases.iter().map(|lease| lease.task.payload.clone().unwrap()).collect();
    let order: Vec<&str> = order.iter().map(|payload| std::str::from_utf8(payload).unwrap()).collect();
    assert_eq!(order, ["first", "second", "middle", "low"]);
}

pub(super) async fn a_delayed_task_waits_for_its_time(home: &dyn Home) {
    let store = home.open().await;
    let mut late = task("late");
    late.delay = Duration::from_millis(80);
    let id = store.put(late).await.id;
    assert_eq!(store.state(id).await, Some(State::Waiting));
    assert!(store.take(ask(1)).await.is_empty());
    let lease = store.take_one().await;
    let status = lease.task.status;
    assert!(status.updated >= status.ready_at);
    assert_eq!(status.ready_at - status.created, 80_000);
}

pub(super) async fn a_failed_attempt_is_repeated_after_its_backoff(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let first = store.take_one().await;
    let settled = store.end(refer(&first), failed(false)).await;
    assert!(matches!(settled, Settled::Done { state: State::Waiting, .. }), "{settled:?}");
    let second = store.take_one().await;
    assert_eq!((second.task.id, second.task.status.attempts), (id, 2));
    assert_eq!(second.task.status.last_error.as_ref().unwrap().reason, "BROKEN");
    assert_eq!(second.task.payload.as_deref(), Some(&b"t"[..]));
    assert!(second.token > first.token);
}

pub(super) async fn the_last_failed_attempt_leads_to_the_dead_letters(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    for _ in 0..2 {
        let lease = store.take_one().await;
        store.end(refer(&lease), failed(false)).await;
    }
    let last = store.take_one().await;
    let settled = store.end(refer(&last), failed(false)).await;
    assert!(matches!(settled, Settled::Done { state: State::Dead, .. }));
    let dead = store.task(&"default".into(), id).await.unwrap().unwrap();
    assert_eq!((dead.status.state, dead.status.attempts), (State::Dead, 3));
    assert_eq!(dead.status.last_error.unwrap().message, "it broke");
}

pub(super) async fn a_permanent_failure_is_not_repeated(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let lease = store.take_one().await;
    store.end(refer(&lease), failed(true)).await;
    assert_eq!(store.state(id).await, Some(State::Dead));
}

pub(super) async fn the_same_key_is_the_same_task(home: &dyn Home) {
    let store = home.open().await;
    let first = store.put(keyed("t", "key")).await;
    let again = store.put(keyed("t", "key")).await;
    assert_eq!((again.id, again.duplicate), (first.id, true));
    let lease = store.take_one().await;
    store.end(refer(&lease), completed("r")).await;
    assert_eq!(store.put(keyed("t", "key")).await.id, first.id);
    assert!(store.take(ask(1)).await.is_empty());
}

pub(super) async fn a_known_key_with_another_body_stores_nothing(home: &dyn Home) {
    let store = home.open().await;
    store.put(keyed("t", "key")).await;
    let refused = store.enqueue(vec![task("new"), keyed("other", "key")]).await;
    assert!(matches!(refused, Err(Error::IdempotencyMismatch { .. })), "{refused:?}");
    assert_eq!(store.take(ask(10)).await.len(), 1);
}

pub(super) async fn a_key_names_one_task_within_a_request(home: &dyn Home) {
    let store = home.open().await;
    let receipts = store.enqueue(vec![keyed("t", "a"), keyed("t", "a")]).await.unwrap();
    assert_eq!(receipts[0].id, receipts[1].id);
    assert_eq!((receipts[0].duplicate, receipts[1].duplicate), (false, true));
    let refused = store.enqueue(vec![keyed("t", "b"), keyed("other", "b")]).await;
    assert!(matches!(refused, Err(Error::IdempotencyMismatch { .. })), "{refused:?}");
    assert_eq!(store.take(ask(10)).await.len(), 1);
}

pub(super) async fn namespaces_do_not_see_each_other(home: &dyn Home) {
    let store = home.open().await;
    let mut other = task("t");
    other.spec.namespace = "other".into();
    let id = store.put(other).await.id;
    assert_eq!(store.state(id).await, None);
    assert!(store.take(ask(1)).await.is_empty());
    let request = LeaseRequest { namespace: "other".into(), ..ask(1) };
    let lease = store.take(request).await.remove(0);
    assert_eq!(store.end(refer(&lease), completed("r")).await, Settled::Lost);
}

fn delayed() -> NewTask {
    let mut task = NewTask { delay: Duration::from_secs(3_600), ..keyed("delayed", "key") };
    task.spec.body_hash = body_hash(&task);
    task
}

pub(super) async fn everything_survives_a_restart(home: &dyn Home) {
    let store = home.open().await;
    let delayed = store.put(delayed()).await.id;
    let retried = store.put(task("retried")).await.id;
    store.end(refer(&store.take_one().await), failed(false)).await;
    eventually(&store, retried, State::Ready).await;
    let ended = store.put(task("ended")).await.id;
    let lease = store.take(ask(2)).await.into_iter().find(|lease| lease.task.id == ended).unwrap();
    store.end(refer(&lease), completed("r")).await;
    drop(store);

    let store = home.open().await;
    assert_eq!(store.state(delayed).await, Some(State::Waiting));
    assert_eq!(store.state(ended).await, Some(State::Completed));
    let again = store.put(self::delayed()).await;
    assert_eq!((again.id, again.duplicate), (delayed, true));
    assert_eq!(store.state(retried).await, Some(State::Leased));
}

pub(super) async fn ended_tasks_go_when_their_retention_is_over(home: &dyn Home) {
    let store = home.open_with(Config { keep_finished_seconds: 0, ..Config::default() }).await;
    let first = store.put(keyed("t", "key")).await.id;
    let lease = store.take_one().await;
    store.end(refer(&lease), completed("r")).await;
    for _ in 0..3 {
        store.put(task("next")).await;
    }
    assert_eq!(store.state(first).await, None);
    assert!(!store.put(keyed("t", "key")).await.duplicate);
}

pub(super) async fn a_full_queue_refuses_more(home: &dyn Home) {
    let store = home.open_with(Config { max_tasks: 2, ..Config::default() }).await;
    store.put(task("a")).await;
    store.put(task("b")).await;
    let refused = store.enqueue(vec![task("c")]).await;
    assert!(matches!(refused, Err(Error::TooManyTasks { .. })), "{refused:?}");
    let lease = store.take_one().await;
    store.end(refer(&lease), completed("r")).await;
    store.put(task("c")).await;
}
