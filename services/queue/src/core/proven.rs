//! What was proven: it outlives memory that is thrown away.
//!
//! A ledger may lose its last commits, and with them leases of which proofs are still good. Who gave the proofs knows of
//! them all the same, and gives none of their tasks to another before they end.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    core::{Core, entry::Row, proof::free_after},
    task::{Micros, State},
};

/// Fewest that are looked through for those that have ended.
const FEWEST: usize = 1_024;

/// Until when proofs are good that were given, by task; of those whose worker has given its word nothing is known.
#[derive(Debug, Default)]
pub struct Proven {
    until: HashMap<Row, (Uuid, Micros)>,
    /// How many there are when those that have ended go.
    full: usize,
}

impl Proven {
    /// A proof was given.
    pub(super) fn note(&mut self, row: Row, id: Uuid, until: Micros, now: Micros) {
        if self.until.len() >= self.full {
            self.until.retain(|_, (_, until)| free_after(*until) > now);
            self.full = FEWEST.max(2 * self.until.len());
        }
        self.until.insert(row, (id, until));
    }

    /// The worker has given its word: its proofs are good for nothing.
    pub(super) fn forget(&mut self, row: Row) {
        self.until.remove(&row);
    }

    /// When the last proof of a task's lease ends or has ended, if its worker has not given its word.
    pub(super) fn until(&self, row: Row) -> Option<Micros> {
        self.until.get(&row).map(|(_, until)| *until)
    }

    /// Takes over what was proven before.
    pub fn extend(&mut self, before: Self) {
        for (row, (id, until)) in before.until {
            let (_, longest) = self.until.entry(row).or_insert((id, until));
            *longest = until.max(*longest);
        }
    }

    /// The same on a clock that is so much ahead of this one.
    #[must_use]
    pub fn on_clock(mut self, ahead: Micros) -> Self {
        self.until.values_mut().for_each(|(_, until)| *until += ahead);
        self
    }
}

impl Core {
    /// Gives what was proven to the memory that follows.
    pub fn take_proven(&mut self) -> Proven {
        std::mem::take(&mut self.proven)
    }

    /// Keeps what memory before this one has promised; once everything is restored.
    pub fn uphold(&mut self, proven: Proven, now: Micros) {
        let good = proven.until.iter().filter(|(_, (_, until))| free_after(*until) > now);
        good.for_each(|(row, (id, until))| self.hold_back(*row, *id, *until, now));
        self.proven.extend(proven);
    }

    /// Gives a task to nobody else while it is proven, though its lease may be lost.
    fn hold_back(&mut self, row: Row, id: Uuid, until: Micros, now: Micros) {
        let Some(mut entry) = self.entries.take(row, &self.queues) else { return };
        let free_at = free_after(until);
        if let Some(hold) = &mut entry.hold {
            hold.proven_until = hold.proven_until.max(Some(until));
        } else if entry.id == id && entry.status.ready_at < free_at {
            self.displace(row, &entry);
            self.queues.leave(entry.queue, entry.slot, entry.status.state);
            (entry.status.state, entry.status.ready_at) = (State::Waiting, free_at);
            entry.status.updated = now;
            self.place(row, &mut entry);
            self.note(row, &mut entry, true);
        }
        self.entries.put(row, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    const ID: Uuid = Uuid::from_u128(1);

    #[test]
    fn proofs_that_have_ended_are_forgotten() {
        let mut proven = Proven::default();
        for row in 0..100_000 {
            let now = i64::try_from(row).unwrap() * SECOND;
            proven.note(row, ID, now + 10 * SECOND, now);
        }
        assert!(proven.until.len() <= FEWEST, "{} are kept", proven.until.len());
    }

    #[test]
    fn times_follow_the_clock_that_they_are_on() {
        let mut proven = Proven::default();
        proven.note(7, ID, 10 * SECOND, 0);
        let moved = proven.on_clock(3 * SECOND);
        assert_eq!(moved.until[&7].1, 13 * SECOND);
    }
}
