//! Flows: tasks that wait for other tasks.
//!
//! `edges` holds a pair (parent, child) for each task that a child still waits for; a task that waits for nothing
//! has none. When a parent ends, a [`Cascade`] goes over its edges, a bounded number in each step: what it frees
//! becomes ready or waits for its time, what can no longer start is cancelled, and begins a cascade of its own.
//!
//! After a restart the edges come from what children were told to wait for. A parent that is not kept any more has
//! completed: any other is forgotten only when nobody waits for it, so that retention and purges first run a
//! cascade that ends with the forgetting.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    core::{
        Core,
        admission::Admitted,
        entry::{Entry, Row, row_of},
    },
    error::Error,
    record::{NewTask, Spec},
    task::{Event, Failure, Micros, State},
};

/// Edges for each task that may live.
const EDGES_PER_TASK: usize = 4;

/// About the bytes of memory that an edge takes.
const EDGE_BYTES: usize = 32;

/// Most edges that one [`Core::cascade`] goes over, so that a commit stays short.
const STEP: usize = 2_048;

/// The end of a parent on its way to those that wait for it.
#[derive(Debug, Clone, Copy)]
struct Cascade {
    parent: Row,
    ended: State,
    /// Children up to here know.
    told: Row,
    /// Forget the parent once all know.
    forget: bool,
}

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Flow {
    edges: BTreeSet<(Row, Row)>,
    cascades: VecDeque<Cascade>,
}

impl Flow {
    /// About the bytes of memory that edges take.
    pub(super) fn bytes(&self) -> usize {
        self.edges.len() * EDGE_BYTES
    }

    /// True when somebody waits for this task.
    pub(super) fn has_children(&self, parent: Row) -> bool {
        !self.edges.is_empty() && self.next_child(parent, 0).is_some()
    }

    fn next_child(&self, parent: Row, told: Row) -> Option<Row> {
        self.edges.range((parent, told + 1)..=(parent, Row::MAX)).next().map(|(_, child)| *child)
    }

    /// True while somebody is still to be told of a parent's end.
    pub(super) fn is_busy(&self) -> bool {
        !self.cascades.is_empty()
    }

    fn begin(&mut self, parent: Row, ended: State, forget: bool) {
        self.cascades.push_back(Cascade { parent, ended, told: 0, forget });
    }
}

/// What a task has to do with one that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Live,
    Ended(State),
    Unknown,
}

impl Core {
    /// Whether every parent that tasks name is known, before the first of them is stored. Those of a request that is
    /// repeated were known once.
    pub(super) fn check_parents(&self, tasks: &[NewTask], admitted: &[Admitted]) -> Result<(), Error> {
        let mut edges = self.flow.edges.len();
        let new = tasks.iter().enumerate().zip(admitted).filter(|(_, admitted)| admitted.is_new);
        for ((task, new), _) in new {
            let Some(terms) = &new.spec.terms else { continue };
            edges += terms.after.len() + new.after_index.len();
            let unknown = |id: &Uuid| self.parent(&new.spec.namespace, *id) == Parent::Unknown;
            if let Some(index) = terms.after.iter().position(unknown) {
                return Err(Error::NoParent { task, index, id: terms.after[index] });
            }
        }
        let limit = self.limits.tasks.saturating_mul(EDGES_PER_TASK);
        if edges > limit && edges > self.flow.edges.len() {
            return Err(Error::TooManyEdges(limit));
        }
        Ok(())
    }

    fn parent(&self, namespace: &str, id: Uuid) -> Parent {
        if self.live(namespace, id).is_some() {
            return Parent::Live;
        }
        let kept = self.retention.kept(row_of(id)).filter(|kept| kept.id == id);
        let kept = kept.filter(|kept| *self.queues.names(kept.queue).0 == *namespace);
        kept.map_or(Parent::Unknown, |kept| Parent::Ended(kept.state))
    }

    /// Binds a task that is about to be placed to the parents that it has to wait for.
    pub(super) fn bind(&mut self, row: Row, entry: &mut Entry) {
        entry.status.blocked_by = 0;
        let spec = Arc::clone(&entry.spec);
        let Some(terms) = spec.terms.as_deref() else { return };
        for id in &terms.after {
            let parent = self.parent(&spec.namespace, *id);
            if is_done(parent, terms.run_after_failure) {
                entry.status.ready_at = entry.status.ready_at.max(self.followed_at(row_of(*id)));
                continue;
            }
            entry.status.blocked_by += u32::from(self.flow.edges.insert((row_of(*id), row)));
            if parent == Parent::Ended(State::Cancelled) {
                self.flow.begin(row_of(*id), State::Cancelled, false);
            }
        }
        if entry.status.blocked_by > 0 {
            entry.status.state = State::Waiting;
        }
    }

    /// True when a dead task may live again: what it had to wait for is done, or may still be.
    pub(super) fn may_start(&self, spec: &Spec) -> bool {
        let Some(terms) = spec.terms.as_deref().filter(|terms| !terms.run_after_failure) else { return true };
        let parents = terms.after.iter().map(|id| self.parent(&spec.namespace, *id));
        !parents.into_iter().any(|parent| matches!(parent, Parent::Unknown | Parent::Ended(State::Cancelled)))
    }

    /// Takes back the edges of a task that waits no more.
    pub(super) fn unbind(&mut self, row: Row, entry: &mut Entry) {
        if std::mem::take(&mut entry.status.blocked_by) == 0 {
            return;
        }
        for id in entry.spec.terms.iter().flat_map(|terms| &terms.after) {
            self.flow.edges.remove(&(row_of(*id), row));
        }
    }

    /// A task ended: those that wait for it will know.
    pub(super) fn tell_children(&mut self, parent: Row, ended: State) {
        if self.flow.has_children(parent) {
            self.flow.begin(parent, ended, false);
        }
    }

    /// Forgets an ended task, at once or when those that wait for it know; false when there is none.
    pub(super) fn forget_parent(&mut self, row: Row) -> bool {
        let waited_for = self.flow.has_children(row);
        let state = self.retention.kept(row).map(|kept| kept.state);
        if waited_for && state.is_some_and(|state| state != State::Completed) {
            self.flow.begin(row, State::Cancelled, true);
            return true;
        }
        self.forget_kept(row)
    }

    /// Tells a bounded number of tasks of the ends of those that they wait for.
    pub fn cascade(&mut self, now: Micros) {
        for _ in 0..STEP {
            let Some(mut cascade) = self.flow.cascades.pop_front() else { return };
            // One that was given another life has not ended.
            if self.entries.contains(cascade.parent) {
                continue;
            }
            match self.flow.next_child(cascade.parent, cascade.told) {
                Some(child) => {
                    self.tell_child(cascade, child, now);
                    cascade.told = child;
                    self.flow.cascades.push_front(cascade);
                }
                None if cascade.forget => drop(self.forget_kept(cascade.parent)),
                None => {}
            }
        }
    }

    fn tell_child(&mut self, cascade: Cascade, child: Row, now: Micros) {
        let Some(spec) = self.entry(child).map(|entry| Arc::clone(&entry.spec)) else { return };
        let Some(terms) = spec.terms.as_deref() else { return };
        match cascade.ended {
            State::Completed => self.free(cascade.parent, child, now),
            _ if terms.run_after_failure => self.free(cascade.parent, child, now),
            State::Cancelled => {
                let parent = terms.after.iter().copied().find(|id| row_of(*id) == cascade.parent);
                let failure = Failure::parent_failed(parent.unwrap_or_default());
                self.finish(child, Event::Cancel, None, Some(failure), now);
            }
            // It waits: its parent may be given another life.
            _ => {}
        }
    }

    /// One edge less; with the last one a task is ready, or waits for its time.
    fn free(&mut self, parent: Row, child: Row, now: Micros) {
        if !self.flow.edges.remove(&(parent, child)) {
            return;
        }
        let Some(mut entry) = self.entries.take(child, &self.queues) else { return };
        entry.status.blocked_by = entry.status.blocked_by.saturating_sub(1);
        let ready_at = entry.status.ready_at.max(self.followed_at(parent));
        if entry.status.blocked_by > 0 {
            // In no place yet that goes by it.
            entry.status.ready_at = ready_at;
            return self.entries.put(child, entry);
        }
        let event = if ready_at <= now { Event::Due } else { Event::Unblock };
        self.move_on(child, entry, event, now, |entry| entry.status.ready_at = ready_at.max(now));
    }

    /// Makes edges again for a task that waited.
    pub(super) fn restore_edges(&mut self, row: Row, entry: &mut Entry) {
        if std::mem::take(&mut entry.status.blocked_by) == 0 {
            return;
        }
        for id in entry.spec.terms.iter().flat_map(|terms| &terms.after) {
            entry.status.blocked_by += u32::from(self.flow.edges.insert((row_of(*id), row)));
        }
    }

    /// Tells the tasks that waited what they may have missed.
    pub(super) fn restore_cascades(&mut self) {
        let parents: BTreeSet<Row> = self.flow.edges.iter().map(|(parent, _)| *parent).collect();
        for parent in parents.into_iter().filter(|parent| !self.entries.contains(*parent)) {
            let ended = self.retention.kept(parent).map_or(State::Completed, |kept| kept.state);
            self.flow.begin(parent, ended, false);
        }
    }
}

fn is_done(parent: Parent, run_after_failure: bool) -> bool {
    match parent {
        Parent::Live => false,
        Parent::Ended(State::Completed) => true,
        Parent::Ended(_) | Parent::Unknown => run_after_failure,
    }
}
