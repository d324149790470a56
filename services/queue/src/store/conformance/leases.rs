//! Leases: fencing, expiry, heartbeats, waiting.

use std::time::Duration;

use super::{Home, PATIENCE, Verbs as _, ask, ask_briefly, completed, eventually, failed, refer, task};
use crate::{
    record::{Beat, LeaseRef, LeaseRequest, Outcome, Settled},
    task::{Retry, State},
};

pub(super) async fn a_released_task_is_ready_again_and_its_attempt_does_not_count(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    for _ in 0..5 {
        let lease = store.take_one().await;
        assert_eq!((lease.task.id, lease.task.status.attempts), (id, 1));
        assert_eq!(lease.task.payload.as_deref(), Some(&b"t"[..]));
        let settled = store.end(refer(&lease), Outcome::Released).await;
        assert!(matches!(settled, Settled::Done { state: State::Ready, .. }));
    }
}

pub(super) async fn an_expired_lease_returns_the_task_and_counts_as_an_attempt(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    store.take(ask_briefly(1)).await;
    let second = store.take_one().await;
    assert_eq!(second.task.status.attempts, 2);
    assert_eq!(second.task.status.last_error.unwrap().reason, "LEASE_EXPIRED");
}

pub(super) async fn a_task_that_only_expires_dies_of_it(home: &dyn Home) {
    let store = home.open().await;
    let mut poison = task("t");
    poison.spec.retry = Retry { max_attempts: 2, initial: Duration::from_millis(1), ..Retry::default() };
    let id = store.put(poison).await.id;
    assert_eq!(store.take(ask_briefly(1)).await.len(), 1);
    assert_eq!(store.take(ask_briefly(1)).await.len(), 1);
    eventually(&store, id, State::Dead).await;
}

pub(super) async fn a_stale_token_changes_nothing(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let stale = store.take(ask_briefly(1)).await.remove(0);
    let fresh = store.take_one().await;
    for outcome in [completed("r"), failed(true), Outcome::Released] {
        assert_eq!(store.end(refer(&stale), outcome).await, Settled::Lost);
    }
    let invented = LeaseRef { token: fresh.token + 1, ..refer(&fresh) };
    assert_eq!(store.end(invented, completed("r")).await, Settled::Lost);
    let beat = store.heartbeat(&"default".into(), vec![refer(&stale)], PATIENCE).await.unwrap();
    assert_eq!(beat, [Beat::Lost]);
    assert_eq!(store.state(id).await, Some(State::Leased));
    store.end(refer(&fresh), completed("fresh")).await;
    let ended = store.task(&"default".into(), id).await.unwrap().unwrap();
    assert_eq!(ended.result.as_deref(), Some(&b"fresh"[..]));
}

pub(super) async fn a_repeated_settlement_gets_the_first_answer(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("a")).await;
    let lease = store.take_one().await;
    for _ in 0..2 {
        let settled = store.end(refer(&lease), completed("r")).await;
        assert!(matches!(settled, Settled::Done { state: State::Completed, .. }), "{settled:?}");
    }
    assert_eq!(store.end(refer(&lease), failed(true)).await, Settled::Lost);
    let mut slow = task("b");
    slow.spec.retry.initial = Duration::from_secs(3_600);
    slow.spec.retry.max = Duration::from_secs(3_600);
    store.put(slow).await;
    let lease = store.take_one().await;
    let first = store.end(refer(&lease), failed(false)).await;
    assert_eq!(store.end(refer(&lease), failed(false)).await, first);
    assert_eq!(store.end(refer(&lease), completed("r")).await, Settled::Lost);
}

pub(super) async fn a_heartbeat_extends_and_tells_what_is_lost(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let lease = store.take(LeaseRequest { duration: Duration::from_millis(300), ..ask(1) }).await.remove(0);
    let lost = LeaseRef { token: 1, ..refer(&lease) };
    let ends = store.heartbeat(&"default".into(), vec![refer(&lease), lost], PATIENCE).await.unwrap();
    assert!(matches!(ends[0], Beat::Until(end) if end > lease.task.status.expires));
    assert_eq!(ends[1], Beat::Lost);
    let nothing = store.take(LeaseRequest { wait: Duration::from_millis(500), ..ask(1) }).await;
    assert!(nothing.is_empty(), "the lease was extended past its first end");
}

pub(super) async fn an_attempt_ends_at_its_timeout_whatever_its_heartbeats(home: &dyn Home) {
    let store = home.open().await;
    let mut brief = task("t");
    brief.spec.attempt_timeout = Some(Duration::from_millis(60));
    store.put(brief).await;
    let first = store.take_one().await;
    store.heartbeat(&"default".into(), vec![refer(&first)], PATIENCE).await.unwrap();
    let second = store.take_one().await;
    assert_eq!(second.task.status.last_error.unwrap().reason, "ATTEMPT_TIMEOUT");
    assert_eq!(store.end(refer(&first), completed("r")).await, Settled::Lost);
}

pub(super) async fn tokens_grow_across_restarts(home: &dyn Home) {
    let mut last = 0;
    for _ in 0..3 {
        let store = home.open().await;
        for _ in 0..5 {
            store.put(task("t")).await;
        }
        for lease in store.take(ask(5)).await {
            assert!(lease.token > last);
            last = lease.token;
        }
    }
}

pub(super) async fn a_live_lease_survives_a_restart(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let lease = store.take_one().await;
    drop(store);
    let store = home.open().await;
    assert!(store.take(ask(1)).await.is_empty());
    let ends = store.heartbeat(&"default".into(), vec![refer(&lease)], PATIENCE).await.unwrap();
    assert!(matches!(ends[0], Beat::Until(_)));
    store.end(refer(&lease), completed("r")).await;
    assert_eq!(store.state(id).await, Some(State::Completed));
}

pub(super) async fn a_waiting_call_wakes_when_work_arrives(home: &dyn Home) {
    let store = home.open().await;
    let (lease, receipt) = tokio::join!(store.take_one(), store.put(task("t")));
    assert_eq!(lease.task.id, receipt.id);
}

pub(super) async fn a_waiting_call_wakes_when_a_task_falls_due(home: &dyn Home) {
    let store = home.open().await;
    let mut late = task("late");
    late.delay = Duration::from_millis(50);
    let (lease, receipt) = tokio::join!(store.take_one(), store.put(late));
    assert_eq!(lease.task.id, receipt.id);
}

pub(super) async fn a_waiting_call_that_is_dropped_takes_nothing(home: &dyn Home) {
    let store = home.open().await;
    for _ in 0..5 {
        let waiting = store.take(LeaseRequest { wait: PATIENCE, ..ask(1) });
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
    }
    let id = store.put(task("t")).await.id;
    let lease = store.take_one().await;
    assert_eq!((lease.task.id, lease.task.status.attempts), (id, 1));
}

pub(super) async fn a_call_that_is_dropped_with_its_answer_takes_nothing(home: &dyn Home) {
    let store = home.open().await;
    let mut waiting = Box::pin(store.lease(LeaseRequest { wait: PATIENCE, ..ask(1) }));
    assert!(futures::poll!(&mut waiting).is_pending());
    let id = store.put(task("t")).await.id;
    eventually(&store, id, State::Leased).await;
    // Its answer is there, and it never hears of it.
    drop(waiting);
    let leases = store.take(LeaseRequest { wait: PATIENCE, ..ask(1) }).await;
    assert_eq!(leases.iter().map(|lease| lease.task.status.attempts).collect::<Vec<_>>(), [1]);
}

pub(super) async fn a_waiting_call_ends_empty_after_its_wait(home: &dyn Home) {
    let store = home.open().await;
    let leases = store.take(LeaseRequest { wait: Duration::from_millis(50), ..ask(1) }).await;
    assert!(leases.is_empty());
}

pub(super) async fn queues_are_served_in_order_of_preference(home: &dyn Home) {
    let store = home.open().await;
    let mut second = task("second");
    second.spec.queue = "second".into();
    store.put(second).await;
    store.put(task("first")).await;
    let request = LeaseRequest { queues: vec!["none".into(), "q".into(), "second".into()], ..ask(2) };
    let leases = store.take(request).await;
    let queues: Vec<&str> = leases.iter().map(|lease| &*lease.task.spec.queue).collect();
    assert_eq!(queues, ["q", "second"]);
}

pub(super) async fn a_heartbeat_that_names_no_length_keeps_that_of_the_lease(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let lease = store.take(LeaseRequest { duration: Duration::from_secs(3_000), ..ask(1) }).await.remove(0);
    let beats = store.report(&"default".into(), vec![refer(&lease)], Vec::new(), None).await.unwrap();
    let Beat::Until(end) = beats[0] else { panic!("{beats:?}") };
    assert!(
        end > lease.task.status.expires,
        "{end} is as long from the heartbeat as the lease was from its start"
    );
}
