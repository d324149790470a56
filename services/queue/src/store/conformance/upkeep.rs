//! How long a queue keeps its ended tasks, and how many bytes of them.

use std::time::Duration;

use nova_testkit::soon;
use uuid::Uuid;

use super::{Home, LONGEST, Verbs as _, completed, failed, keyed, log::ALL, refer, task};
use crate::{record::QueueSettings, store::Store, task::State};

async fn configure(store: &Store, queue: &str, change: impl FnOnce(&mut QueueSettings) + Send + 'static) {
    store.configure(&"default".into(), &queue.into(), change).await.unwrap();
}

/// A task of queue `q` that completed; its payload and its result have as many bytes together.
async fn ended(store: &Store, bytes: usize) -> Uuid {
    let id = store.put(task(&"p".repeat(bytes / 2))).await.id;
    store.end(refer(&store.take_one().await), completed(&"r".repeat(bytes - bytes / 2))).await;
    id
}

async fn eventually_forgotten(store: &Store, id: Uuid) {
    let forgotten = async || store.state(id).await.is_none().then_some(());
    soon(&format!("task {id} is forgotten"), LONGEST, forgotten).await;
}

pub(super) async fn a_queue_keeps_ended_tasks_as_long_as_it_says(home: &dyn Home) {
    let store = home.open().await;
    let before = ended(&store, 2).await;
    let mut other = task("other");
    other.spec.queue = "other".into();
    let other = store.put(other).await.id;
    store.cancel(&"default".into(), vec![other], "no".into()).await.unwrap();
    configure(&store, "q", |settings| settings.keep_for = Some(Duration::from_millis(300))).await;
    eventually_forgotten(&store, before).await;
    let after = ended(&store, 2).await;
    drop(store);
    let store = home.open().await;
    eventually_forgotten(&store, after).await;
    assert_eq!(store.state(other).await, Some(State::Cancelled), "other queues keep theirs");
}

pub(super) async fn a_queue_keeps_as_many_bytes_of_ended_tasks_as_it_says(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, "q", |settings| settings.keep_bytes = Some(2_000)).await;
    let first = ended(&store, 900).await;
    let second = ended(&store, 900).await;
    assert_eq!(store.state(first).await, Some(State::Completed), "1,800 bytes may be kept");
    drop(store);
    let store = home.open().await;
    let third = ended(&store, 900).await;
    eventually_forgotten(&store, first).await;
    for kept in [second, third] {
        assert_eq!(store.state(kept).await, Some(State::Completed), "the oldest goes first, and no more");
    }
    configure(&store, "q", |settings| settings.keep_bytes = None).await;
    ended(&store, 5_000).await;
    assert_eq!(store.state(second).await, Some(State::Completed));
}

pub(super) async fn the_limits_of_the_daemon_bound_those_of_queues(home: &dyn Home) {
    let config = crate::config::Config { keep_finished_seconds: 0, ..Default::default() };
    let store = home.open_with(config).await;
    configure(&store, "q", |settings| settings.keep_for = Some(Duration::from_secs(3_600))).await;
    let id = ended(&store, 2).await;
    eventually_forgotten(&store, id).await;
}

pub(super) async fn a_watch_that_keeps_up_sees_what_is_kept_for_no_time(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, "q", |settings| settings.keep_bytes = Some(1)).await;
    let start = store.head();
    let id = ended(&store, 100).await;
    eventually_forgotten(&store, id).await;
    let events = store.events(start, 10, ALL).await.unwrap().events;
    let last = events.last().unwrap();
    assert_eq!((last.task.id, last.task.status.state), (id, State::Completed));
    assert_eq!(last.task.result.as_ref().map(|result| result.len()), Some(50));
    drop(store);
    let store = home.open().await;
    assert!(store.events(start, 10, ALL).await.is_err(), "whom a restart meets behind is told so");
}

pub(super) async fn dead_letters_outlive_what_completes(home: &dyn Home) {
    let config = crate::config::Config { keep_finished_seconds: 0, ..Default::default() };
    let store = home.open_with(config.clone()).await;
    let dead = store.put(keyed("t", "key")).await.id;
    store.end(refer(&store.take_one().await), failed(true)).await;
    for _ in 0..3 {
        let id = ended(&store, 2).await;
        eventually_forgotten(&store, id).await;
    }
    assert_eq!(store.state(dead).await, Some(State::Dead));
    assert!(store.put(keyed("t", "key")).await.duplicate, "and so is its key");
    drop(store);
    let store = home.open_with(crate::config::Config { keep_dead_seconds: 0, ..config }).await;
    ended(&store, 2).await;
    eventually_forgotten(&store, dead).await;
}
