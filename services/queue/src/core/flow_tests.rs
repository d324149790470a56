//! Flows, unique keys and deadlines on memory alone, at sizes and moments that no store could be brought to.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    Core,
    batch::Batch,
    model::{Disk, limits, task},
};
use crate::{
    mark::Mark,
    record::{LeaseRef, LeaseRequest, NewTask, Outcome, QueueSettings, Settled, Settlement},
    task::{Failure, Micros, State},
    terms::Terms,
};

const NOW: Micros = 1_700_000_000_000_000;
const SECOND: Micros = 1_000_000;

/// A core and what it wrote.
struct Bench {
    core: Core,
    disk: Disk,
    largest: usize,
}

impl Bench {
    fn new() -> Self {
        // Events enough that no journal row is let go, which would add to commits.
        let limits = super::Limits { tasks: 1_000_000, events: 10_000_000, ..limits() };
        Self { core: Core::new(limits, 1), disk: Disk::default(), largest: 0 }
    }

    fn commit(&mut self) -> Batch {
        let batch = self.core.take_batch(NOW);
        self.disk.write(&batch);
        batch
    }

    /// Commits as long as there is something to do at once.
    fn settle_down(&mut self) {
        self.commit();
        while self.core.next_tick() == Some(0) {
            self.core.tick(NOW);
            self.largest = self.largest.max(self.commit().changes.len());
        }
    }

    fn put(&mut self, tasks: Vec<NewTask>) -> Vec<Uuid> {
        self.core.enqueue(tasks, NOW).unwrap().into_iter().map(|receipt| receipt.id).collect()
    }

    fn take(&mut self) -> Option<LeaseRef> {
        let request = LeaseRequest {
            namespace: "default".into(),
            queues: vec!["q".into()],
            worker: "w".into(),
            max: 1,
            duration: Duration::from_secs(10),
            wait: Duration::ZERO,
            stream: 0,
            mark: Mark::default(),
        };
        self.core.lease(&request, NOW).pop().map(|lease| lease.refer())
    }

    fn end(&mut self, lease: LeaseRef, outcome: Outcome) -> Settled {
        self.core.settle("default", &Settlement { lease, outcome }, NOW)
    }

    fn complete(&mut self, lease: LeaseRef) {
        let done = self.end(lease, Outcome::Completed(Arc::from(&b"r"[..])));
        assert!(matches!(done, Settled::Done { .. }));
    }

    fn counts(&self) -> (u64, u64, u64) {
        let stats = self.core.stats("default", "", 10).remove(0);
        (stats.waiting, stats.ready, stats.cancelled)
    }

    fn state(&self, id: Uuid) -> Option<State> {
        self.core.task("default", id).map(|task| task.status.state)
    }
}

fn bound(terms: Terms) -> NewTask {
    let mut task = task(None, false, "");
    task.spec.terms = Some(Box::new(terms));
    task
}

fn child(parents: &[Uuid]) -> NewTask {
    bound(Terms { after: parents.to_vec(), ..Terms::default() })
}

fn wide(bench: &mut Bench, children: usize) -> Uuid {
    let parent = bench.put(vec![task(None, false, "")])[0];
    for _ in 0..children / 1_000 {
        bench.put(vec![child(&[parent]); 1_000]);
        bench.commit();
    }
    parent
}

#[test]
fn a_wide_flow_is_freed_in_bounded_steps() {
    let mut bench = Bench::new();
    wide(&mut bench, 100_000);
    assert_eq!(bench.counts(), (100_000, 1, 0));
    let lease = bench.take().unwrap();
    bench.complete(lease);
    bench.settle_down();
    assert_eq!(bench.counts(), (0, 100_000, 0));
    assert!(bench.largest <= 2_048, "a commit of {} changes", bench.largest);
}

#[test]
fn a_wide_flow_is_cancelled_in_bounded_steps() {
    let mut bench = Bench::new();
    let parent = wide(&mut bench, 100_000);
    assert_eq!(bench.core.cancel("default", &[parent], "no", NOW).len(), 1);
    bench.settle_down();
    assert_eq!(bench.counts(), (0, 0, 100_001 - bench.forgotten()));
    assert!(bench.largest <= 2_048, "a commit of {} changes", bench.largest);
}

impl Bench {
    /// Tasks that retention let go.
    fn forgotten(&self) -> u64 {
        100_001 - self.disk.tasks.len() as u64
    }
}

#[test]
fn a_deep_flow_is_cancelled_to_its_end() {
    let mut bench = Bench::new();
    let mut tasks = vec![task(None, false, "")];
    for index in 0..999 {
        tasks.push(NewTask { after_index: vec![index], ..child(&[]) });
    }
    let ids = bench.put(tasks);
    bench.core.cancel("default", &ids[..1], "no", NOW);
    bench.settle_down();
    assert_eq!(bench.counts(), (0, 0, 1_000));
}

#[test]
fn a_restart_amid_a_cascade_goes_on_with_it() {
    for cancelled in [true, false] {
        let mut bench = Bench::new();
        let parent = wide(&mut bench, 5_000);
        if cancelled {
            bench.core.cancel("default", &[parent], "no", NOW);
        } else {
            let lease = bench.take().unwrap();
            bench.complete(lease);
        }
        bench.commit();
        let mut restarts = 0;
        loop {
            bench.core = bench.disk.read(NOW);
            if bench.core.next_tick() != Some(0) {
                break;
            }
            bench.core.tick(NOW);
            bench.commit();
            restarts += 1;
        }
        assert!(restarts > 1, "the cascade took one step");
        let (waiting, ready, _) = bench.counts();
        assert_eq!((waiting, ready), if cancelled { (0, 0) } else { (0, 5_000) });
    }
}

#[test]
fn a_purged_parent_is_forgotten_only_when_its_children_know() {
    let mut bench = Bench::new();
    let parent = wide(&mut bench, 5_000);
    assert_eq!(bench.core.purge("default", &[parent], &[], NOW), 1);
    bench.core.tick(NOW);
    bench.commit();
    assert!(bench.disk.tasks.values().any(|(id, ..)| *id == parent), "children still wait for it");
    bench.core = bench.disk.read(NOW);
    bench.settle_down();
    assert_eq!(bench.counts().0, 0);
    assert_eq!(bench.take(), None, "none of them started");
}

#[test]
fn a_dead_parent_that_retention_forgets_cancels_those_that_wait_for_it() {
    let mut bench = Bench::new();
    let parent = bench.put(vec![task(None, false, "")])[0];
    let ids = bench.put(vec![
        child(&[parent]),
        bound(Terms { run_after_failure: true, after: vec![parent], ..Terms::default() }),
    ]);
    let lease = bench.take().unwrap();
    let failed = Outcome::Failed { error: Failure::expired(), permanent: true, retry_after: None };
    bench.end(lease, failed);
    bench.settle_down();
    assert_eq!(bench.state(ids[0]), Some(State::Waiting), "its parent may be given another life");
    assert_eq!(bench.state(ids[1]), Some(State::Ready));
    let later = NOW + 86_401 * SECOND;
    let batch = bench.core.take_batch(later);
    assert!(batch.forgotten.is_empty(), "somebody waits for it");
    bench.core.tick(later);
    let batch = bench.core.take_batch(later);
    assert_eq!(batch.finished[0].error.as_ref().unwrap().reason, "PARENT_FAILED");
    assert_eq!(batch.forgotten.len(), 1);
    assert_eq!(bench.state(ids[0]), None);
}

#[test]
fn a_dead_parent_that_its_queue_forgets_cancels_those_that_wait_for_it() {
    let mut bench = Bench::new();
    let parent = bench.put(vec![task(None, false, "")])[0];
    let waiting = bench.put(vec![child(&[parent])])[0];
    let lease = bench.take().unwrap();
    bench.end(lease, Outcome::Failed { error: Failure::expired(), permanent: true, retry_after: None });
    bench.settle_down();
    let briefly = |settings: &mut QueueSettings| settings.keep_for = Some(Duration::ZERO);
    bench.core.configure(&"default".into(), &"q".into(), briefly, NOW).unwrap();
    bench.settle_down();
    assert_eq!(bench.state(waiting), None, "it waits for what never completes");
    assert!(!bench.core.flow.has_children(parent_row(parent)));
}

#[test]
fn a_task_that_waits_for_nothing_has_no_edges() {
    let mut bench = Bench::new();
    let parent = bench.put(vec![task(None, false, "")])[0];
    for _ in 0..10 {
        let id = bench.put(vec![child(&[parent, parent])])[0];
        assert_eq!(bench.core.task("default", id).unwrap().status.blocked_by, 1);
        bench.core.purge("default", &[id], &[], NOW);
    }
    assert!(!bench.core.flow.has_children(parent_row(parent)));
}

fn parent_row(id: Uuid) -> u64 {
    super::entry::row_of(id)
}

#[test]
fn many_deadlines_are_met_in_bounded_steps() {
    let mut bench = Bench::new();
    let terms = Terms { deadline: Some(Duration::from_secs(1)), ..Terms::default() };
    bench.put(vec![bound(terms); 5_000]);
    bench.commit();
    let later = NOW + SECOND;
    bench.core.tick(later);
    assert_eq!(bench.core.take_batch(later).finished.len(), 2_048);
    assert_eq!(bench.core.next_tick(), Some(later), "the rest is due");
    bench.core.tick(later);
    bench.core.tick(later);
    assert_eq!(bench.core.live_len(), 0);
}
