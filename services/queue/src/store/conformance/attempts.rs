//! What attempts leave behind: progress, checkpoints, a history.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{Home, PATIENCE, Verbs as _, ask, ask_briefly, completed, eventually, failed, refer, task};
use crate::{
    record::{Beat, LeaseRef, LeaseRequest, Outcome, Report, Settled, Task},
    store::Store,
    task::State,
    trail::{Attempt, Progress},
};

fn checkpoint(lease: LeaseRef, bytes: &[u8]) -> Report {
    Report { lease, progress: None, checkpoint: Some(Arc::from(bytes)) }
}

async fn report(store: &Store, report: Report) -> Beat {
    store.report(&"default".into(), Vec::new(), vec![report], Some(PATIENCE)).await.unwrap()[0]
}

async fn read(store: &Store, id: Uuid) -> Task {
    store.task(&"default".into(), id).await.unwrap().expect("the task is kept")
}

async fn history(store: &Store, id: Uuid) -> Vec<Attempt> {
    read(store, id).await.status.trail.map(|trail| trail.history.clone()).unwrap_or_default()
}

/// Reasons of attempts that ended, with their numbers.
fn reasons(history: &[Attempt]) -> Vec<(u32, &str)> {
    assert!(history.iter().all(|attempt| attempt.start > 0 && attempt.start <= attempt.end));
    let mut reasons = Vec::new();
    for attempt in history {
        reasons.push((attempt.number, attempt.error.as_ref().map_or("", |error| &*error.reason)));
    }
    reasons
}

pub(super) async fn a_report_is_durable_when_it_is_answered(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let lease = store.take_one().await;
    let progress = Some(Progress::new(0.5, "half of it"));
    let both = Report { progress: progress.clone(), ..checkpoint(refer(&lease), b"page 7") };
    assert!(matches!(report(&store, both).await, Beat::Until(_)));
    drop(store);
    let store = home.open().await;
    let found = read(&store, id).await;
    assert_eq!(found.status.trail.unwrap().progress, progress);
    assert_eq!(found.checkpoint.as_deref(), Some(&b"page 7"[..]));
    assert_eq!(found.status.state, State::Leased);
}

pub(super) async fn a_checkpoint_is_carried_to_the_next_attempt(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let first = store.take_one().await;
    assert_eq!(first.task.checkpoint, None);
    for page in [&b"page 1"[..], b"page 2"] {
        report(&store, checkpoint(refer(&first), page)).await;
    }
    store.end(refer(&first), failed(false)).await;
    let second = store.take_one().await;
    assert_eq!(second.task.checkpoint.as_deref(), Some(&b"page 2"[..]), "the latest alone is kept");
    assert_eq!(second.task.payload.as_deref(), Some(&b"t"[..]));
    assert_eq!(second.task.status.trail.as_ref().unwrap().progress, None, "progress is of one attempt");
    report(&store, checkpoint(refer(&second), b"")).await;
    store.end(refer(&second), failed(false)).await;
    let third = store.take_one().await;
    assert_eq!(third.task.checkpoint, None, "an empty one is none");
    assert_eq!(third.task.id, id);
}

pub(super) async fn a_checkpoint_goes_with_its_task(home: &dyn Home) {
    let store = home.open().await;
    let mut ids = Vec::new();
    for end in 0..3 {
        let id = store.put(task("t")).await.id;
        let lease = store.take_one().await;
        report(&store, checkpoint(refer(&lease), b"left")).await;
        assert!(store.reader.checkpoint(id).await.unwrap().is_some());
        match end {
            0 => drop(store.end(refer(&lease), completed("r")).await),
            1 => drop(store.cancel(&"default".into(), vec![id], "no".into()).await.unwrap()),
            _ => {
                store.end(refer(&lease), Outcome::Released).await;
                assert_eq!(store.purge(&"default".into(), vec![id], Vec::new()).await.unwrap(), 1);
            }
        }
        ids.push(id);
    }
    for id in ids {
        assert_eq!(store.reader.checkpoint(id).await.unwrap(), None);
    }
}

pub(super) async fn a_stale_report_changes_nothing(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    let stale = store.take(ask_briefly(1)).await.remove(0);
    let fresh = store.take_one().await;
    report(&store, checkpoint(refer(&fresh), b"fresh")).await;
    let late = Report { progress: Some(Progress::new(1.0, "")), ..checkpoint(refer(&stale), b"stale") };
    assert_eq!(report(&store, late).await, Beat::Lost);
    let found = read(&store, id).await;
    assert_eq!(found.checkpoint.as_deref(), Some(&b"fresh"[..]));
    assert_eq!(found.status.trail.unwrap().progress, None);
}

pub(super) async fn a_plain_heartbeat_writes_nothing(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let lease = store.take_one().await;
    let before = store.head();
    let nothing = Report { lease: refer(&lease), progress: None, checkpoint: None };
    let until =
        store.report(&"default".into(), vec![refer(&lease)], vec![nothing], Some(PATIENCE)).await.unwrap();
    assert!(until.iter().all(|beat| matches!(beat, Beat::Until(_))));
    assert_eq!((until.len(), store.head()), (2, before));
}

pub(super) async fn a_dead_task_tells_how_each_attempt_ended(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    store.end(refer(&store.take_one().await), Outcome::Released).await;
    store.take(LeaseRequest { worker: "w-2".into(), ..ask_briefly(1) }).await;
    store.end(refer(&store.take_one().await), failed(false)).await;
    drop(store);
    let store = home.open().await;
    let expected = [(1, "RELEASED"), (1, "LEASE_EXPIRED"), (2, "BROKEN")];
    assert_eq!(reasons(&history(&store, id).await), expected);
    let last = store.take_one().await;
    assert_eq!(reasons(&last.task.status.trail.as_ref().unwrap().history), expected);
    store.end(refer(&last), failed(false)).await;
    drop(store);
    let store = home.open().await;
    assert_eq!(store.state(id).await, Some(State::Dead));
    let history = history(&store, id).await;
    assert_eq!(reasons(&history), [expected[0], expected[1], expected[2], (3, "BROKEN")]);
    assert_eq!(&*history[1].worker, "w-2");
}

pub(super) async fn a_task_that_completes_at_once_has_no_history(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    store.end(refer(&store.take_one().await), completed("r")).await;
    assert_eq!(read(&store, id).await.status.trail, None);
    let id = store.put(task("t")).await.id;
    store.end(refer(&store.take_one().await), failed(false)).await;
    store.end(refer(&store.take_one().await), completed("r")).await;
    assert_eq!(reasons(&history(&store, id).await), [(1, "BROKEN"), (2, "")]);
}

pub(super) async fn a_redriven_task_keeps_its_history(home: &dyn Home) {
    let store = home.open().await;
    let id = store.put(task("t")).await.id;
    store.end(refer(&store.take_one().await), failed(true)).await;
    assert_eq!(store.redrive(vec![read(&store, id).await]).await.unwrap(), 1);
    store.end(refer(&store.take_one().await), failed(true)).await;
    assert_eq!(reasons(&history(&store, id).await), [(1, "BROKEN"), (1, "BROKEN")]);
}

pub(super) async fn leases_are_counted_by_worker(home: &dyn Home) {
    let store = home.open().await;
    for _ in 0..4 {
        store.put(task("t")).await;
    }
    let held = async |store: &Store| {
        let workers = vec!["w-1".into(), "w-2".into()];
        let held = store.held_by(&"default".into(), workers).await.unwrap();
        held.iter().map(|held| held.leases).collect::<Vec<_>>()
    };
    let leases = store.take(ask(2)).await;
    let brief = store.take(LeaseRequest { worker: "w-2".into(), ..ask_briefly(1) }).await.remove(0);
    assert_eq!(held(&store).await, [2, 1]);
    eventually_not_held(&store, brief.task.id).await;
    assert_eq!(held(&store).await, [2, 0], "an expired lease is held by nobody");
    let settled = store.end(refer(&leases[0]), completed("r")).await;
    assert!(matches!(settled, Settled::Done { .. }));
    drop(store);
    let store = home.open().await;
    assert_eq!(held(&store).await, [1, 0], "a restart counts what is held");
    store.cancel(&"default".into(), vec![leases[1].task.id], "no".into()).await.unwrap();
    assert_eq!(held(&store).await, [0, 0]);
}

async fn eventually_not_held(store: &Store, id: Uuid) {
    if store.state(id).await == Some(State::Leased) {
        eventually(store, id, State::Ready).await;
    }
}

pub(super) async fn a_queue_tells_how_it_performs(home: &dyn Home) {
    let store = home.open().await;
    for _ in 0..3 {
        store.put(task("t")).await;
    }
    store.end(refer(&store.take_one().await), completed("r")).await;
    let failing = store.take_one().await;
    store.end(refer(&failing), failed(true)).await;
    let brief = store.take(ask_briefly(1)).await.remove(0);
    eventually_not_held(&store, brief.task.id).await;
    store.cancel(&"default".into(), vec![brief.task.id], "no".into()).await.unwrap();
    let view = store.queue(&"default".into(), &"q".into()).await.unwrap().unwrap().performance;
    let counts = view.counts;
    assert_eq!((counts.enqueued, counts.started, counts.completed), (3, 3, 1));
    assert_eq!((counts.failed, counts.expired, counts.dead, counts.cancelled), (1, 1, 1, 1));
    let (wait, run) = (view.wait.unwrap(), view.run.unwrap());
    assert!(wait.p50 <= wait.p99 && wait.p99 < PATIENCE);
    assert!(run.p50 > Duration::ZERO && view.since > 0);
}
