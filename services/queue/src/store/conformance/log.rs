//! The event log, lists and counts.

use std::{collections::BTreeSet, time::Duration};

use nova_testkit::soon;

use super::{Home, LONGEST, Verbs as _, ask, completed, failed, refer, task};
use crate::{
    Error,
    config::Config,
    engine::ring::Wanted,
    record::{Cursor, Fits, LeaseRequest, Settlement, Task, TaskEvent, TaskFilter},
    store::Store,
    task::State,
};

/// Every event is wanted.
pub(super) const ALL: Wanted<'static> = &|_| true;

/// Reads the events after a cursor, a hundred at a time, once there are `count`.
async fn read(store: &Store, after: Cursor, count: usize) -> Vec<TaskEvent> {
    let enough = || async { Some(so_far(store, after).await).filter(|seen| seen.len() >= count) };
    soon(&format!("{count} events come"), LONGEST, enough).await
}

async fn so_far(store: &Store, mut after: Cursor) -> Vec<TaskEvent> {
    let mut seen = Vec::new();
    loop {
        let passage = store.events(after, 100, ALL).await.unwrap();
        seen.extend(passage.events);
        if passage.reached == after {
            return seen;
        }
        after = passage.reached;
    }
}

fn states(events: &[TaskEvent]) -> Vec<State> {
    events.iter().map(|event| event.task.status.state).collect()
}

pub(super) async fn events_tell_every_change(home: &dyn Home) {
    let store = home.open().await;
    let start = store.head();
    let id = store.put(task("t")).await.id;
    store.end(refer(&store.take_one().await), failed(false)).await;
    store.end(refer(&store.take_one().await), completed("out")).await;
    let events = read(&store, start, 6).await;
    let expected =
        [State::Ready, State::Leased, State::Waiting, State::Ready, State::Leased, State::Completed];
    assert_eq!(states(&events), expected);
    assert!(events.iter().all(|event| event.task.id == id && event.task.payload.is_none()));
    assert_eq!(events[5].task.result.as_deref(), Some(&b"out"[..]));
    assert_eq!(events[2].task.status.last_error.as_ref().unwrap().reason, "BROKEN");
    assert!(events.is_sorted_by_key(|event| event.cursor));
    assert_eq!(events[1].task.spec.label("run"), Some("7"));
}

pub(super) async fn a_reader_passes_over_what_it_does_not_want(home: &dyn Home) {
    let store = home.open().await;
    let start = store.head();
    store.put(task("other")).await;
    let id = store.put(task("t")).await.id;
    read(&store, start, 2).await;
    let passage = store.events(start, 10, &|event| event.task.id == id).await.unwrap();
    assert_eq!(passage.events.len(), 1);
    assert_eq!(passage.reached, store.head());
}

pub(super) async fn a_cursor_resumes_after_a_restart(home: &dyn Home) {
    let store = home.open().await;
    let start = store.head();
    let id = store.put(task("t")).await.id;
    let first = read(&store, start, 1).await.remove(0);
    store.end(refer(&store.take_one().await), completed("out")).await;
    drop(store);
    let store = home.open().await;
    let events = read(&store, first.cursor, 2).await;
    assert_eq!(states(&events), [State::Leased, State::Completed]);
    assert_eq!(events[1].task.id, id);
    assert_eq!(events[1].task.result.as_deref(), Some(&b"out"[..]));
}

pub(super) async fn a_cursor_that_the_log_has_passed_is_expired(home: &dyn Home) {
    let config = Config { keep_events: 10, ..Config::default() };
    let store = home.open_with(config.clone()).await;
    let start = store.head();
    let held = store.put(task("held")).await.id;
    let lease = store.take(LeaseRequest { duration: Duration::from_secs(3_600), ..ask(1) }).await.remove(0);
    // More than memory holds of the log, too.
    for _ in 0..60 {
        let tasks = (0..50).map(|_| task("t")).collect();
        store.enqueue(tasks).await.unwrap();
        let leases = store.take(ask(50)).await;
        let end = |lease| Settlement { lease: refer(lease), outcome: completed("r") };
        store.settle(&"default".into(), leases.iter().map(end).collect()).await.unwrap();
    }
    assert!(matches!(store.events(start, 1, ALL).await, Err(Error::CursorExpired)));
    drop(store);
    let store = home.open_with(config).await;
    assert!(matches!(store.events(start, 1, ALL).await, Err(Error::CursorExpired)));
    assert_eq!(store.state(held).await, Some(State::Leased), "a live lease outlives its place in the log");
    store.end(refer(&lease), completed("r")).await;
    assert_eq!(store.state(held).await, Some(State::Completed));
}

pub(super) async fn a_cursor_from_elsewhere_is_expired(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let elsewhere = Cursor(u64::MAX / 2, 0);
    assert!(matches!(store.events(elsewhere, 1, ALL).await, Err(Error::CursorExpired)));
}

fn filter(limit: usize) -> TaskFilter {
    TaskFilter {
        namespace: "default".into(),
        queue: None,
        states: Vec::new(),
        before: None,
        limit,
        fits: Fits::default(),
    }
}

pub(super) async fn lists_page_through_every_task_newest_first(home: &dyn Home) {
    let store = home.open().await;
    let mut put = BTreeSet::new();
    for _ in 0..7 {
        put.insert(store.put(task("t")).await.id);
    }
    store.end(refer(&store.take_one().await), completed("r")).await;
    let mut seen = Vec::new();
    let mut page = filter(3);
    loop {
        let found = store.tasks(page.clone()).await.unwrap();
        assert!(found.tasks.len() <= 3);
        seen.extend(found.tasks.iter().map(|task| task.id));
        assert!(found.tasks.iter().all(|task| task.payload.is_none() && task.result.is_none()));
        if found.next.is_none() {
            break;
        }
        page.before = found.next;
    }
    assert_eq!(seen, put.into_iter().rev().collect::<Vec<_>>());
}

pub(super) async fn lists_keep_to_their_filters(home: &dyn Home) {
    let store = home.open().await;
    let mut other = task("t");
    other.spec.queue = "other".into();
    store.put(other).await;
    store.put(task("ended")).await;
    store.end(refer(&store.take_one().await), completed("r")).await;
    let ready = store.put(task("ready")).await.id;
    let in_queue = TaskFilter { queue: Some("q".into()), ..filter(10) };
    assert_eq!(store.tasks(in_queue.clone()).await.unwrap().tasks.len(), 2);
    let both = TaskFilter { states: vec![State::Ready], ..in_queue };
    let found = store.tasks(both).await.unwrap().tasks;
    assert_eq!(found.iter().map(|task| task.id).collect::<Vec<_>>(), [ready]);
}

pub(super) async fn lists_leave_payloads_and_results_in_the_ledger(home: &dyn Home) {
    let store = home.open().await;
    let live = store.put(task("live")).await.id;
    store.end(refer(&store.take_one().await), completed("out")).await;
    let whole = store.task(&"default".into(), live).await.unwrap().unwrap();
    assert_eq!(whole.result.as_deref(), Some(&b"out"[..]));
    let ended = store.reader.endings(vec![live, uuid::Uuid::now_v7()]).await.unwrap();
    assert_eq!(ended, [Some(Task { payload: None, result: None, ..whole }), None]);
}

pub(super) async fn queues_count_their_tasks(home: &dyn Home) {
    let store = home.open().await;
    let tasks = (0..6).map(|_| task("t")).collect();
    store.enqueue(tasks).await.unwrap();
    let mut late = task("late");
    late.delay = Duration::from_secs(3_600);
    store.put(late).await;
    let leases = store.take(ask(3)).await;
    store.end(refer(&leases[0]), completed("r")).await;
    store.end(refer(&leases[1]), failed(true)).await;
    let queues = store.queues(&"default".into(), String::new(), 10).await.unwrap();
    let row = queues.iter().find(|row| &*row.queue == "q").unwrap();
    assert_eq!((row.waiting, row.ready, row.leased, row.completed, row.dead), (1, 3, 1, 1, 1));
    assert!(row.oldest_ready.is_some());
}
