//! The model's part on tasks that are bound: to other tasks, a unique key, a deadline; and what operators do to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    entry::{Entry, row_of},
    model::{GROUPS, Run, task},
};
use crate::{
    codec::unpack_spec,
    record::{NewTask, Receipt, Task},
    task::{State, after},
    terms::Terms,
};

/// A task with terms; parents are picked among all tasks that were ever told of.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    parents: Vec<usize>,
    chained: bool,
    run_after_failure: bool,
    unique: Option<(u8, bool)>,
    deadline: bool,
    delayed: bool,
    group: usize,
}

pub(super) fn any_bound() -> impl Strategy<Value = Bound> {
    let parents = proptest::collection::vec(any::<usize>(), 0..3);
    let unique = proptest::option::weighted(0.3, (0u8..2, any::<bool>()));
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2), any::<bool>());
    (parents, unique, flags, 0..GROUPS.len()).prop_map(|(parents, unique, flags, group)| {
        let (chained, run_after_failure, deadline, delayed) = flags;
        Bound { parents, chained, run_after_failure, unique, deadline, delayed, group }
    })
}

/// What callers know of the ends of tasks, forgotten ones included.
#[derive(Debug, Default)]
pub(super) struct ToldOfFlows {
    ends: BTreeMap<Uuid, BTreeSet<u8>>,
    purged: BTreeSet<Uuid>,
    /// Tasks that started in this step.
    pub(super) started: Vec<Task>,
    ids: Vec<Uuid>,
}

impl ToldOfFlows {
    pub(super) fn saw(&mut self, id: Uuid, state: State) {
        if !self.ends.contains_key(&id) {
            self.ids.push(id);
        }
        let ends = self.ends.entry(id).or_default();
        if state.is_terminal() {
            ends.insert(state.code());
        }
    }

    fn ended(&self, id: Uuid, state: State) -> bool {
        self.ends.get(&id).is_some_and(|ends| ends.contains(&state.code()))
    }

    /// A task starts after its parents.
    fn check_start(&self, task: &Task) {
        let Some(terms) = task.spec.terms.as_deref() else { return };
        for parent in &terms.after {
            let failed = self.ended(*parent, State::Dead) || self.ended(*parent, State::Cancelled);
            let done = self.ended(*parent, State::Completed)
                || terms.run_after_failure && (failed || self.purged.contains(parent));
            assert!(done, "task {} started before its parent {parent}", task.id);
        }
    }
}

impl Run {
    fn one(&self, which: usize) -> Option<Uuid> {
        self.told.flow.ids.get(which.checked_rem(self.told.flow.ids.len())?).copied()
    }

    pub(super) fn bind(&mut self, bound: &Bound) {
        let parents: Vec<Uuid> = bound.parents.iter().filter_map(|which| self.one(*which)).collect();
        let going = |id: &Uuid| self.core.batch.forgotten.contains(&row_of(*id));
        let known = parents.iter().all(|id| self.told.stored.contains_key(id) && !going(id));
        let (first, second) =
            (bound_task(bound, parents, Vec::new()), bound_task(bound, Vec::new(), vec![0]));
        let tasks = if bound.chained { vec![first, second] } else { vec![first] };
        let (before, repeated) = (self.core.live_len(), self.is_held(bound));
        let stored = self.core.enqueue(tasks, self.now);
        assert_eq!(stored.is_ok(), known || repeated, "a parent that is kept is known, and no other");
        match stored {
            Ok(receipts) => receipts.iter().for_each(|receipt| self.check_unique(bound, *receipt)),
            Err(_) => assert_eq!(self.core.live_len(), before, "a refused call stored something"),
        }
    }

    /// Whether a task lives that keeps away others like the one that is asked for.
    fn is_held(&self, bound: &Bound) -> bool {
        let Some((key, _)) = bound.unique else { return false };
        let mut living = self.told.stored.keys().filter_map(|id| self.core.task("default", *id));
        living.any(|task| holds(&task, key) && lock_end(&task) > self.now)
    }

    /// No two tasks hold a key, and one that is kept away names the holder.
    fn check_unique(&self, bound: &Bound, receipt: Receipt) {
        let Some((key, _)) = bound.unique else { return assert!(!receipt.duplicate) };
        let named = self.core.task("default", receipt.id).expect("it lives");
        assert!(holds(&named, key), "a receipt names a task with another key");
        let others = self.told.stored.keys().filter_map(|id| self.core.task("default", *id));
        let locked = others.filter(|other| holds(other, key) && other.id != receipt.id);
        let mut until = locked.map(|other| lock_end(&other));
        assert!(until.all(|until| until <= self.now), "two tasks hold the key {key}");
    }

    pub(super) fn control(&mut self, which: usize, how: u8) {
        let Some(id) = self.one(which) else { return };
        match how {
            0 => drop(self.core.cancel("default", &[id], "no longer wanted", self.now)),
            1 => {
                let purged = self.core.purge("default", &[id], &[], self.now);
                self.told.flow.purged.extend((purged > 0).then_some(id));
            }
            _ => {
                let dead = self.dead(id);
                let was = dead.is_some();
                let lives = self.core.redrive(&Vec::from_iter(dead), self.now) > 0;
                assert!(was || !lives, "a task that was not dead got another life");
            }
        }
    }

    /// A dead task as the ledger has it.
    fn dead(&self, id: Uuid) -> Option<Task> {
        let row = row_of(id);
        let ending = self.disk.finished.get(&row).filter(|ending| ending.state == State::Dead)?;
        let (id, spec, created, ready_at) = self.disk.tasks.get(&row)?;
        let spec = Arc::new(unpack_spec(spec).expect("it was packed"));
        let mut task = Entry::new(*id, 0, spec, *created, *ready_at).view();
        (task.status.attempts, task.status.last_error) = self.disk.attempts[&row].clone();
        task.status.updated = ending.at;
        Some(task)
    }

    pub(super) fn check_deadlines(&self) {
        for task in self.told.stored.keys().filter_map(|id| self.core.task("default", *id)) {
            assert!(
                task.status.deadline == 0 || task.status.deadline > self.now,
                "a task outlived its deadline"
            );
        }
    }

    /// Once all is told, a task waits for exactly those of its parents that may still complete.
    pub(super) fn check_flows(&mut self) {
        for task in std::mem::take(&mut self.told.flow.started) {
            self.told.flow.check_start(&task);
        }
        if self.core.next_tick() == Some(0) {
            return;
        }
        let mut live = 0;
        for task in self.told.stored.keys().filter_map(|id| self.core.task("default", *id)) {
            live += 1;
            let Some(terms) = task.spec.terms.as_deref().filter(|_| task.status.blocked_by > 0) else {
                continue;
            };
            assert_eq!(task.status.state, State::Waiting);
            let open = terms.after.iter().filter(|parent| self.is_open(**parent, terms.run_after_failure));
            let (died, lives): (Vec<&Uuid>, Vec<&Uuid>) =
                open.partition(|parent| self.told.flow.ended(**parent, State::Dead));
            // Who runs after a failure may have seen one that was given another life die.
            let least = lives.len() + if terms.run_after_failure { 0 } else { died.len() };
            let waits_for = task.status.blocked_by as usize;
            let right = (least..=lives.len() + died.len()).contains(&waits_for);
            assert!(right, "task {} waits for {waits_for}, not {lives:?} and {died:?}", task.id);
        }
        assert_eq!(live, self.core.live_len());
    }
}

impl Run {
    /// True when a task may still complete.
    fn is_open(&self, id: Uuid, run_after_failure: bool) -> bool {
        let state = self.told.stored.get(&id);
        state.is_some_and(|state| !state.is_terminal() || *state == State::Dead && !run_after_failure)
    }
}

fn bound_task(bound: &Bound, parents: Vec<Uuid>, after_index: Vec<u32>) -> NewTask {
    let mut task = task(None, bound.delayed, GROUPS[bound.group]);
    let unique_key = bound.unique.map(|(key, _)| key.to_string()).unwrap_or_default();
    task.spec.terms = Some(Box::new(Terms {
        deadline: bound.deadline.then_some(Duration::from_secs(60)),
        unique_key: unique_key.into(),
        unique_for: bound.unique.filter(|(_, brief)| *brief).map(|_| Duration::from_secs(20)),
        after: parents,
        run_after_failure: bound.run_after_failure,
    }));
    NewTask { after_index, ..task }
}

fn holds(task: &Task, key: u8) -> bool {
    task.spec.terms.as_ref().is_some_and(|terms| *terms.unique_key == key.to_string())
}

fn lock_end(task: &Task) -> i64 {
    let span = task.spec.terms.as_ref().and_then(|terms| terms.unique_for);
    span.map_or(i64::MAX, |span| after(task.status.created, span))
}
