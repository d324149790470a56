//! Deadlines: tasks that must have completed by a time die when it comes.

use std::collections::BTreeSet;

use crate::{
    core::{
        Core,
        entry::{Entry, Row},
    },
    task::{Event, Failure, Micros},
};

/// The deadlines of live tasks; one goes with its task, so that those far ahead cost nothing once it has ended.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    due: BTreeSet<(Micros, Row)>,
}

impl Deadlines {
    /// Remembers the deadline of a task, if it has one.
    pub(super) fn add(&mut self, row: Row, entry: &Entry) {
        if entry.status.deadline != 0 {
            self.due.insert((entry.status.deadline, row));
        }
    }

    /// Forgets it.
    pub(super) fn remove(&mut self, row: Row, entry: &Entry) {
        if entry.status.deadline != 0 {
            self.due.remove(&(entry.status.deadline, row));
        }
    }

    /// The next of them.
    pub(super) fn next(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Core {
    /// Ends up to `most` tasks whose deadline has passed, whatever their state.
    pub(super) fn meet_deadlines(&mut self, most: usize, now: Micros) {
        for _ in 0..most {
            let Some((at, row)) = self.deadlines.due.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            self.finish(row, Event::Overdue, None, Some(Failure::deadline_exceeded()), now);
            // Gone with the task; also when there is none, which cannot be, or this would never end.
            self.deadlines.due.remove(&(at, row));
        }
    }
}
