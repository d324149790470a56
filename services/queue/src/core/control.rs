//! What operators do to tasks: cancel, forget, give another life.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    core::{
        Core,
        entry::{Entry, Row, row_of},
        proof::revivable_at,
    },
    record::{LeaseRef, Recall, Task},
    task::{Event, Failure, Micros, State, after},
};

impl Core {
    /// Ends the live ones of these tasks; answers each that ended, with who held it.
    pub fn cancel(&mut self, namespace: &str, ids: &[Uuid], message: &str, now: Micros) -> Vec<Recall> {
        let mut cancelled = Vec::new();
        for id in ids {
            let Some(entry) = self.live(namespace, *id) else { continue };
            let hold = entry.hold.as_ref();
            let of = hold.map(|hold| (hold.token, hold.mark, hold.stream));
            let (token, mark, stream) = of.unwrap_or_default();
            self.finish(row_of(*id), Event::Cancel, None, Some(Failure::cancelled(message)), now);
            cancelled.push(Recall { lease: LeaseRef { id: *id, token, mark }, stream });
        }
        cancelled
    }

    /// Forgets those of these tasks that nobody holds and that are in one of `states`, or in any when there is none;
    /// answers how many there were. Whoever picked them by state did so before: meanwhile one may live again.
    pub fn purge(&mut self, namespace: &str, ids: &[Uuid], states: &[State], now: Micros) -> usize {
        ids.iter().filter(|id| self.purge_one(namespace, **id, states, now)).count()
    }

    fn purge_one(&mut self, namespace: &str, id: Uuid, states: &[State], now: Micros) -> bool {
        let row = row_of(id);
        let spared = |state: State| !states.is_empty() && !states.contains(&state);
        match self.live(namespace, id).map(|entry| entry.status.state) {
            Some(State::Leased) => false,
            Some(state) if spared(state) => false,
            Some(_) if self.flow.has_children(row) => {
                self.finish(
                    row,
                    Event::Cancel,
                    None,
                    Some(Failure::cancelled("somebody purged the task")),
                    now,
                );
                self.forget_parent(row)
            }
            Some(_) => self.forget_live(row),
            None => {
                self.kept_as(namespace, id).is_some_and(|state| !spared(state)) && self.forget_parent(row)
            }
        }
    }

    /// How a task ended that is kept.
    fn kept_as(&mut self, namespace: &str, id: Uuid) -> Option<State> {
        let kept = *self.retention.kept(row_of(id)).filter(|kept| kept.id == id)?;
        (**self.queues.at(kept.queue).name().0 == *namespace).then_some(kept.state)
    }

    fn forget_live(&mut self, row: Row) -> bool {
        let Some(mut entry) = self.entries.take(row, &self.queues) else { return false };
        self.entries.remove(row);
        self.leave(row, &mut entry);
        self.uncache(&mut entry);
        self.retention.journaled -= usize::from(entry.journal != 0);
        // Events tell of it up to here.
        self.retention.floor = self.head();
        self.queues.emptied(entry.queue);
        self.forget_key(&entry);
        self.drop_checkpoint(row, &entry);
        self.batch.forgotten.push(row);
        true
    }

    /// Gives dead tasks another life; answers how many got one. They come from the ledger, which knows all of them.
    pub fn redrive(&mut self, tasks: &[Task], now: Micros) -> usize {
        tasks.iter().filter(|task| self.redrive_one(task, now)).count()
    }

    /// Whether a dead task may have another life: no other lives in its place, and what it waited for may complete.
    fn may_live(&self, task: &Task, now: Micros) -> bool {
        let started = task.status.attempts > 0;
        self.holder(&task.spec, now).is_none() && (started || self.may_start(&task.spec))
    }

    fn redrive_one(&mut self, task: &Task, now: Micros) -> bool {
        let row = row_of(task.id);
        if self.retention.kept(row).is_none_or(|kept| kept.state != State::Dead) || !self.may_live(task, now)
        {
            return false;
        }
        let Some(kept) = self.take_kept(row) else { return false };
        let ready_at = revivable_at(&task.status).max(now);
        let mut entry =
            Entry::new(task.id, kept.queue, Arc::clone(&task.spec), task.status.created, ready_at);
        entry.slot = self.queues.at(kept.queue).join(&task.spec.group);
        entry.status.state = if ready_at > now { State::Waiting } else { State::Ready };
        entry.status.updated = now;
        let span = task.spec.terms.as_ref().and_then(|terms| terms.deadline);
        entry.status.deadline = span.map_or(0, |span| after(now, span));
        self.deadlines.add(row, &entry);
        self.lock(&entry);
        if task.status.attempts == 0 {
            self.bind(row, &mut entry);
            if entry.status.ready_at > now {
                entry.status.state = State::Waiting;
            }
        } else {
            entry.status.blocked_by = 0;
        }
        entry.status.trail.clone_from(&task.status.trail);
        entry.payload_len = task.payload_len;
        self.enlist(row, &entry);
        self.place(row, &mut entry);
        self.note(row, &mut entry, true);
        self.entries.put(row, Box::new(entry));
        self.batch.revived.push(row);
        true
    }
}
