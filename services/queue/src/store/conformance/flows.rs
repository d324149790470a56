//! Tasks that are bound: to other tasks, a unique key, a deadline; and leases that are put off.

use std::time::Duration;

use nova_testkit::soon;
use uuid::Uuid;

use super::{Home, LONGEST, PATIENCE, Verbs as _, ask, completed, eventually, failed, keyed, refer, task};
use crate::{
    Error,
    config::Config,
    record::{Beat, LeaseRequest, NewTask, Outcome, Settled, Task},
    store::Store,
    task::State,
    terms::Terms,
};

fn bound(payload: &str, terms: Terms) -> NewTask {
    let mut task = task(payload);
    task.spec.terms = Some(Box::new(terms));
    task
}

fn after(parents: &[Uuid]) -> NewTask {
    bound("child", Terms { after: parents.to_vec(), ..Terms::default() })
}

/// The same, whatever becomes of its parents.
fn whatever(parents: &[Uuid]) -> NewTask {
    let terms = Terms { after: parents.to_vec(), run_after_failure: true, ..Terms::default() };
    bound("child", terms)
}

pub(super) fn unique(key: &str, unique_for: Option<Duration>) -> NewTask {
    bound("t", Terms { unique_key: key.into(), unique_for, ..Terms::default() })
}

fn deadline(span: Duration) -> NewTask {
    bound("t", Terms { deadline: Some(span), ..Terms::default() })
}

async fn read(store: &Store, id: Uuid) -> Task {
    store.task(&"default".into(), id).await.unwrap().unwrap()
}

async fn reason(store: &Store, id: Uuid) -> String {
    read(store, id).await.status.last_error.unwrap().reason.clone()
}

async fn finish(store: &Store, outcome: Outcome) -> Uuid {
    let lease = store.take_one().await;
    assert!(matches!(store.end(refer(&lease), outcome).await, Settled::Done { .. }));
    lease.task.id
}

async fn cancel(store: &Store, id: Uuid) {
    assert_eq!(store.cancel(&"default".into(), vec![id], "no".into()).await.unwrap(), 1);
}

pub(super) async fn a_child_starts_after_its_parents_across_restarts(home: &dyn Home) {
    let store = home.open().await;
    let (a, b) = (store.put(task("a")).await.id, store.put(task("b")).await.id);
    let child = store.put(after(&[a, b])).await.id;
    assert_eq!(read(&store, child).await.status.blocked_by, 2);
    drop(store);
    let store = home.open().await;
    assert_eq!(finish(&store, completed("r")).await, a);
    assert_eq!(read(&store, child).await.status.blocked_by, 1);
    drop(store);
    let store = home.open().await;
    let waits = read(&store, child).await.status;
    assert_eq!((waits.state, waits.blocked_by), (State::Waiting, 1), "{a} completed before the restart");
    assert_eq!(finish(&store, completed("r")).await, b);
    drop(store);
    let store = home.open().await;
    assert_eq!(finish(&store, completed("r")).await, child);
    assert!(store.take(ask(10)).await.is_empty(), "it ran once");
}

pub(super) async fn a_call_stores_a_whole_flow(home: &dyn Home) {
    let store = home.open().await;
    let named = |index| NewTask { after_index: vec![index], ..after(&[]) };
    let receipts = store.enqueue(vec![task("a"), named(0), named(1)]).await.unwrap();
    for receipt in receipts {
        assert_eq!(finish(&store, completed("r")).await, receipt.id);
    }
}

pub(super) async fn a_child_waits_for_its_time_too(home: &dyn Home) {
    let store = home.open().await;
    let parent = store.put(task("parent")).await.id;
    let child = store.put(NewTask { delay: Duration::from_millis(400), ..after(&[parent]) }).await.id;
    finish(&store, completed("r")).await;
    let freed = read(&store, child).await.status;
    assert_eq!((freed.state, freed.blocked_by), (State::Waiting, 0));
    drop(store);
    let store = home.open().await;
    assert_eq!(store.take_one().await.task.id, child);
}

pub(super) async fn a_parent_that_completed_counts_as_done(home: &dyn Home) {
    let store = home.open().await;
    let parent = store.put(task("parent")).await.id;
    finish(&store, completed("r")).await;
    let child = store.put(after(&[parent])).await.id;
    assert_eq!(store.state(child).await, Some(State::Ready));
    drop(store);
    let store = home.open().await;
    assert_eq!(store.state(child).await, Some(State::Ready));
}

pub(super) async fn a_parent_that_is_forgotten_after_it_completed_stays_done(home: &dyn Home) {
    let brief = || Config { keep_finished_seconds: 0, ..Config::default() };
    let store = home.open_with(brief()).await;
    let (a, b) = (store.put(task("a")).await.id, store.put(task("b")).await.id);
    let child = store.put(after(&[a, b])).await.id;
    finish(&store, completed("r")).await;
    let other = NewTask { delay: PATIENCE, ..task("other") };
    store.put(other).await;
    assert_eq!(store.state(a).await, None, "retention let it go");
    drop(store);
    let store = home.open_with(brief()).await;
    assert_eq!(read(&store, child).await.status.blocked_by, 1);
    assert_eq!(finish(&store, completed("r")).await, b);
    assert_eq!(finish(&store, completed("r")).await, child);
}

pub(super) async fn a_child_waits_while_its_parent_is_dead(home: &dyn Home) {
    let store = home.open().await;
    let parent = store.put(task("parent")).await.id;
    let child = store.put(after(&[parent])).await.id;
    finish(&store, failed(true)).await;
    let late = store.put(after(&[parent])).await.id;
    assert!(store.take(ask(10)).await.is_empty());
    drop(store);
    let store = home.open().await;
    assert!(store.take(ask(10)).await.is_empty());
    assert_eq!(read(&store, late).await.status.blocked_by, 1);
    assert_eq!(store.redrive(vec![read(&store, parent).await]).await.unwrap(), 1);
    assert_eq!(finish(&store, completed("r")).await, parent);
    assert_eq!(finish(&store, completed("r")).await, child);
    assert_eq!(finish(&store, completed("r")).await, late);
}

pub(super) async fn a_cancelled_parent_cancels_those_that_wait_for_it(home: &dyn Home) {
    let store = home.open().await;
    let parent = store.put(task("parent")).await.id;
    let child = store.put(after(&[parent])).await.id;
    let grandchild = store.put(after(&[child])).await.id;
    cancel(&store, parent).await;
    eventually(&store, grandchild, State::Cancelled).await;
    assert_eq!(reason(&store, child).await, "PARENT_FAILED");
    assert_eq!(reason(&store, grandchild).await, "PARENT_FAILED");
    let late = store.put(after(&[parent])).await.id;
    eventually(&store, late, State::Cancelled).await;
    drop(store);
    let store = home.open().await;
    assert!(store.take(ask(10)).await.is_empty());
}

pub(super) async fn a_purged_parent_cancels_those_that_wait_for_it(home: &dyn Home) {
    let store = home.open().await;
    let (live, dead) = (store.put(task("live")).await.id, store.put(task("dead")).await.id);
    let children = [store.put(after(&[live])).await.id, store.put(after(&[dead])).await.id];
    let lease = store.take(ask(2)).await;
    store.end(refer(&lease[1]), failed(true)).await;
    store.end(refer(&lease[0]), Outcome::Released).await;
    assert_eq!(store.purge(&"default".into(), vec![live, dead], Vec::new()).await.unwrap(), 2);
    for child in children {
        eventually(&store, child, State::Cancelled).await;
        assert_eq!(reason(&store, child).await, "PARENT_FAILED");
    }
    drop(store);
    let store = home.open().await;
    assert_eq!((store.state(live).await, store.state(dead).await), (None, None));
}

pub(super) async fn a_child_may_run_whatever_became_of_its_parents(home: &dyn Home) {
    let store = home.open().await;
    let (dead, gone) = (store.put(task("dead")).await.id, store.put(task("gone")).await.id);
    let child = store.put(whatever(&[dead, gone])).await.id;
    finish(&store, failed(true)).await;
    assert_eq!(read(&store, child).await.status.state, State::Waiting);
    drop(store);
    let store = home.open().await;
    cancel(&store, gone).await;
    assert_eq!(finish(&store, completed("r")).await, child);
    let late = store.put(whatever(&[dead, gone])).await.id;
    assert_eq!(store.state(late).await, Some(State::Ready));
}

pub(super) async fn a_parent_that_is_not_there_is_refused(home: &dyn Home) {
    let store = home.open().await;
    let elsewhere = {
        let mut other = task("t");
        other.spec.namespace = "other".into();
        store.put(other).await.id
    };
    for unknown in [Uuid::now_v7(), elsewhere] {
        let refused = store.enqueue(vec![task("a"), after(&[unknown])]).await;
        assert!(matches!(refused, Err(Error::NoParent { task: 1, index: 0, .. })), "{refused:?}");
    }
    assert!(store.take(ask(10)).await.is_empty(), "nothing of the call is stored");
}

pub(super) async fn a_repeated_call_needs_no_parents_any_more(home: &dyn Home) {
    let store = home.open().await;
    let parent = store.put(task("parent")).await.id;
    let child = || NewTask {
        spec: crate::record::Spec { terms: after(&[parent]).spec.terms, ..keyed("c", "key").spec },
        ..keyed("c", "key")
    };
    let first = store.put(child()).await.id;
    finish(&store, completed("r")).await;
    store.purge(&"default".into(), vec![parent], Vec::new()).await.unwrap();
    let again = store.put(child()).await;
    assert_eq!((again.id, again.duplicate), (first, true));
}

pub(super) async fn a_unique_key_keeps_others_away_until_its_task_ends(home: &dyn Home) {
    let store = home.open().await;
    let first = store.put(unique("u", None)).await;
    let second = store.put(unique("u", None)).await;
    assert_eq!((first.duplicate, second.id, second.duplicate), (false, first.id, true));
    assert!(!store.put(unique("v", None)).await.duplicate);
    let mut other = unique("u", None);
    other.spec.queue = "other".into();
    assert!(!store.put(other).await.duplicate, "each queue has keys of its own");
    drop(store);
    let store = home.open().await;
    assert_eq!(store.put(unique("u", None)).await.id, first.id);
    assert_eq!(finish(&store, completed("r")).await, first.id);
    let third = store.put(unique("u", None)).await;
    assert!(!third.duplicate, "the lock ends with its task");
    cancel(&store, third.id).await;
    drop(store);
    let store = home.open().await;
    let fourth = store.put(unique("u", None)).await;
    assert!(!fourth.duplicate);
    store.purge(&"default".into(), vec![fourth.id], Vec::new()).await.unwrap();
    assert!(!store.put(unique("u", None)).await.duplicate);
}

pub(super) async fn a_unique_key_is_free_again_after_its_time(home: &dyn Home) {
    let store = home.open().await;
    let brief = || unique("u", Some(Duration::from_millis(100)));
    let first = store.put(brief()).await;
    let freed = async || {
        let receipt = store.put(brief()).await;
        assert!(!receipt.duplicate || receipt.id == first.id);
        (!receipt.duplicate).then_some(receipt.id)
    };
    let second = soon("the key is free again", LONGEST, freed).await;
    assert_eq!(finish(&store, completed("r")).await, first.id);
    let held = store.put(unique("u", None)).await;
    assert!(held.id == second || !held.duplicate, "the end of the first frees nothing of the second");
}

pub(super) async fn a_dead_task_stays_dead_while_another_holds_its_key(home: &dyn Home) {
    let store = home.open().await;
    let dead = store.put(unique("u", None)).await.id;
    finish(&store, failed(true)).await;
    let holder = store.put(unique("u", None)).await.id;
    let found = read(&store, dead).await;
    assert_eq!(store.redrive(vec![found.clone()]).await.unwrap(), 0);
    assert_eq!(finish(&store, completed("r")).await, holder);
    assert_eq!(store.redrive(vec![found]).await.unwrap(), 1);
    assert_eq!(store.put(unique("u", None)).await.id, dead);
}

pub(super) async fn a_task_dies_at_its_deadline_in_every_state(home: &dyn Home) {
    let store = home.open().await;
    let span = Duration::from_millis(250);
    let held = store.put(deadline(span)).await.id;
    let lease = store.take_one().await;
    assert!(lease.task.status.expires <= lease.task.status.deadline, "a lease ends with the deadline");
    let ready = store.put(deadline(span)).await.id;
    let waiting = store.put(NewTask { delay: PATIENCE, ..deadline(span) }).await.id;
    let child =
        store.put(bound("c", Terms { deadline: Some(span), after: vec![waiting], ..Terms::default() }));
    let child = child.await.id;
    store.put(deadline(PATIENCE * 10)).await;
    drop(store);
    let store = home.open().await;
    for id in [held, ready, waiting, child] {
        eventually(&store, id, State::Dead).await;
        assert_eq!(reason(&store, id).await, "DEADLINE_EXCEEDED");
    }
    let beats = store.heartbeat(&"default".into(), vec![refer(&lease)], PATIENCE).await.unwrap();
    assert_eq!(beats, [Beat::Lost]);
    assert_eq!(store.end(refer(&lease), completed("late")).await, Settled::Lost);
    assert_eq!(store.take(ask(10)).await.len(), 1, "the one whose deadline is far");
}

pub(super) async fn a_redriven_task_has_as_long_again(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(deadline(Duration::from_millis(500))).await.id;
    eventually(&store, id, State::Dead).await;
    assert_eq!(store.redrive(vec![read(&store, id).await]).await.unwrap(), 1);
    assert_eq!(store.state(id).await, Some(State::Ready));
    drop(store);
    let store = home.open().await;
    eventually(&store, id, State::Dead).await;
    assert_eq!(reason(&store, id).await, "DEADLINE_EXCEEDED");
}

pub(super) async fn a_completed_task_has_no_deadline(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(deadline(Duration::from_millis(200))).await.id;
    finish(&store, completed("r")).await;
    let probe = store.put(deadline(Duration::from_millis(250))).await.id;
    eventually(&store, probe, State::Dead).await;
    assert_eq!(store.state(id).await, Some(State::Completed));
}

pub(super) async fn a_snoozed_task_comes_back_later_and_its_attempt_does_not_count(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    for _ in 0..4 {
        let lease = store.take_one().await;
        assert_eq!((lease.task.id, lease.task.status.attempts), (id, 1));
        let snooze = || Outcome::Snoozed(Duration::from_millis(60));
        let settled = store.end(refer(&lease), snooze()).await;
        let Settled::Done { state: State::Waiting, ready_at } = settled else { panic!("{settled:?}") };
        assert!(ready_at > lease.task.status.ready_at);
        assert_eq!(store.end(refer(&lease), snooze()).await, settled, "the first answer again");
    }
    let lease = store.take_one().await;
    store.end(refer(&lease), Outcome::Snoozed(PATIENCE * 100)).await;
    drop(store);
    let store = home.open().await;
    let brief = LeaseRequest { wait: Duration::from_millis(100), ..ask(1) };
    assert!(store.take(brief).await.is_empty());
    assert_eq!(store.state(id).await, Some(State::Waiting));
}
