//! Groups: shares, limits, rates, and that they outlive the daemon.

use std::{collections::BTreeMap, time::Duration};

use super::{Home, PATIENCE, Verbs as _, ask, ask_briefly, completed, failed, refer, task};
use crate::{
    record::{Fits, Lease, LeaseRequest, NewTask, Outcome, QueueSettings, RateLimit, TaskFilter},
    store::Store,
};

fn of(group: &str) -> NewTask {
    let mut task = task("t");
    task.spec.group = group.into();
    task
}

async fn put(store: &Store, group: &str, count: usize) {
    store.enqueue(vec![of(group); count]).await.unwrap();
}

async fn configure(store: &Store, change: impl FnOnce(&mut QueueSettings) + Send + 'static) {
    store.configure(&"default".into(), &"q".into(), change).await.unwrap();
}

/// How many leases each group got.
fn by_group(leases: &[Lease]) -> BTreeMap<&str, usize> {
    let mut counted = BTreeMap::new();
    for lease in leases {
        *counted.entry(&*lease.task.spec.group).or_default() += 1;
    }
    counted
}

pub(super) async fn groups_share_a_queue_by_weight(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, |settings| settings.group_weights = [("a".into(), 4)].into()).await;
    put(&store, "a", 100).await;
    put(&store, "b", 100).await;
    assert_eq!(by_group(&store.take(ask(50)).await), [("a", 40), ("b", 10)].into());
    drop(store);
    let store = home.open().await;
    assert_eq!(by_group(&store.take(ask(50)).await), [("a", 40), ("b", 10)].into());
}

pub(super) async fn a_group_runs_no_more_than_its_limit_even_after_a_restart(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, |settings| settings.group_max_running = Some(2)).await;
    put(&store, "a", 5).await;
    put(&store, "b", 1).await;
    let held = store.take(ask(10)).await;
    assert_eq!(by_group(&held), [("a", 2), ("b", 1)].into());
    drop(store);
    let store = home.open().await;
    assert!(store.take(ask(10)).await.is_empty());
    store.end(refer(&held[0]), completed("r")).await;
    assert_eq!(by_group(&store.take(ask(10)).await), [("a", 1)].into());
}

pub(super) async fn every_end_of_a_lease_gives_its_slot_back(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, |settings| settings.max_running = Some(1)).await;
    put(&store, "a", 5).await;
    for outcome in [completed("r"), failed(true), failed(false), Outcome::Released] {
        let lease = store.take_one().await;
        assert!(store.take(ask(10)).await.is_empty(), "its slot is taken");
        store.end(refer(&lease), outcome).await;
    }
    let cancelled = store.take_one().await;
    store.cancel(&"default".into(), vec![cancelled.task.id], String::new()).await.unwrap();
    let expired = store.take(ask_briefly(1)).await;
    assert_eq!(expired.len(), 1);
    assert_eq!(store.take(ask_briefly(10)).await.len(), 1, "the slot of an expired lease is free again");
}

pub(super) async fn a_waiting_call_wakes_when_a_slot_is_free(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, |settings| settings.group_max_running = Some(1)).await;
    put(&store, "a", 2).await;
    let held = store.take_one().await;
    let (next, _) = tokio::join!(store.take_one(), store.end(refer(&held), completed("r")));
    assert_ne!(next.task.id, held.task.id);
}

pub(super) async fn a_waiting_call_wakes_when_a_bucket_refills(home: &dyn Home) {
    let store = home.open().await;
    let rate = RateLimit { count: 1, period: Duration::from_millis(200), burst: 1 };
    configure(&store, move |settings| settings.rate = Some(rate)).await;
    put(&store, "a", 3).await;
    let start = std::time::Instant::now();
    for _ in 0..3 {
        store.take_one().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(395), "{:?}", start.elapsed());
}

pub(super) async fn a_rate_outlives_a_restart(home: &dyn Home) {
    let store = home.open().await;
    let rate = RateLimit { count: 1, period: Duration::from_secs(3_600), burst: 2 };
    configure(&store, move |settings| settings.group_rate = Some(rate)).await;
    put(&store, "a", 5).await;
    for lease in store.take(ask(10)).await {
        store.end(refer(&lease), completed("r")).await;
    }
    drop(store);
    let store = home.open().await;
    put(&store, "b", 1).await;
    assert_eq!(by_group(&store.take(ask(10)).await), [("b", 1)].into());
    configure(&store, |settings| settings.group_rate = None).await;
    assert_eq!(by_group(&store.take(ask(10)).await), [("a", 3)].into());
}

pub(super) async fn a_waiting_call_wakes_when_a_limit_is_lifted(home: &dyn Home) {
    let store = home.open().await;
    configure(&store, |settings| settings.max_running = Some(1)).await;
    put(&store, "a", 2).await;
    store.take_one().await;
    let waiting = store.take(LeaseRequest { wait: PATIENCE, ..ask(1) });
    let (woken, ()) = tokio::join!(waiting, configure(&store, |settings| settings.max_running = None));
    assert_eq!(woken.len(), 1);
}

pub(super) async fn a_strict_queue_never_starts_a_lower_priority_first(home: &dyn Home) {
    let config = crate::config::Config { ageing_step_ms: 0, ..crate::config::Config::default() };
    let store = home.open_with(config).await;
    let with = |priority| {
        let mut task = task("t");
        task.spec.priority = priority;
        task
    };
    store.put(with(1)).await;
    store.put(with(9)).await;
    let first = |leases: Vec<Lease>| leases[0].task.spec.priority;
    assert_eq!(first(store.take(ask(1)).await), 1, "with a step of nothing the older goes first");
    store.put(with(1)).await;
    store.put(with(9)).await;
    configure(&store, |settings| settings.strict_priority = true).await;
    assert_eq!([first(store.take(ask(1)).await), first(store.take(ask(1)).await)], [9, 9]);
}

pub(super) async fn lists_find_a_group(home: &dyn Home) {
    let store = home.open().await;
    put(&store, "a", 2).await;
    put(&store, "", 3).await;
    let filter = TaskFilter {
        namespace: "default".into(),
        queue: None,
        states: Vec::new(),
        before: None,
        limit: 100,
        fits: Fits { group: Some("a".into()), ..Fits::default() },
    };
    let found = store.tasks(filter).await.unwrap().tasks;
    assert_eq!(found.iter().map(|task| &*task.spec.group).collect::<Vec<_>>(), ["a", "a"]);
}
