//! What settings say of ended tasks: how long a queue keeps them, and how many bytes of them.
//!
//! Each queue knows its ended tasks in the order in which they ended. A commit looks at the queues whose tasks
//! ended in it and, in turn, at some others with such settings, and lets go a bounded number of tasks.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    core::{
        Core,
        entry::{Entry, Row},
        groups::NAMELESS,
        retention::{Kept, Retention},
    },
    record::QueueSettings,
    task::{Micros, after},
};

/// Queues that a commit looks at in turn.
const ROUND: usize = 64;

/// Ended tasks of one queue.
#[derive(Debug, Default)]
pub(super) struct EndedTasks {
    /// Row and last journal entry, in the order in which they ended; the first is kept, later ones may be gone.
    order: VecDeque<(Row, u64)>,
    /// Bytes of their payloads and results.
    bytes: u64,
}

impl EndedTasks {
    fn add(&mut self, row: Row, journal: u64, bytes: u32) {
        self.order.push_back((row, journal));
        self.bytes += u64::from(bytes);
    }

    fn remove(&mut self, bytes: u32, retention: &Retention) {
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
        let gone =
            |(row, journal): &(Row, u64)| retention.kept(*row).is_none_or(|kept| kept.journal != *journal);
        while self.order.front().is_some_and(gone) {
            self.order.pop_front();
        }
        while self.order.back().is_some_and(gone) {
            self.order.pop_back();
        }
    }
}

/// Queues that keep ended tasks in their own way.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    queues: BTreeSet<u32>,
    /// The last that was looked at in turn.
    last: u32,
    /// Those that a commit must look at.
    pressed: Vec<u32>,
}

impl Upkeep {
    /// Settings of a queue changed.
    pub(super) fn set(&mut self, queue: u32, settings: &QueueSettings) {
        if settings.keep_for.is_some() || settings.keep_bytes.is_some() {
            self.queues.insert(queue);
            self.press(queue);
        } else {
            self.queues.remove(&queue);
        }
    }

    fn press(&mut self, queue: u32) {
        if self.pressed.last() != Some(&queue) && self.queues.contains(&queue) {
            self.pressed.push(queue);
        }
    }

    /// The queues to look at now.
    fn next(&mut self) -> Vec<u32> {
        let mut next = std::mem::take(&mut self.pressed);
        let in_turn = self.queues.range(self.last + 1..).chain(self.queues.range(..=self.last)).take(ROUND);
        next.extend(in_turn);
        self.last = next.last().copied().unwrap_or(0);
        next.sort_unstable();
        next.dedup();
        next
    }
}

impl Core {
    /// A task ended with the next journal entry.
    pub(super) fn keep_ended(&mut self, row: Row, entry: &Entry, token: u64, result: usize, now: Micros) {
        let bytes = entry.payload_len.saturating_add(u32::try_from(result).unwrap_or(u32::MAX));
        let journal = self.next_entry;
        self.retention.ended(row, entry, token, journal, bytes, now);
        self.queues.at(entry.queue).ended.add(row, journal, bytes);
        self.enlist(row, entry);
        if !self.upkeep.queues.is_empty() {
            self.upkeep.press(entry.queue);
        }
    }

    /// Takes an ended task out of what is kept.
    pub(super) fn take_kept(&mut self, row: Row) -> Option<Kept> {
        let kept = self.retention.take(row)?;
        self.queues.leave(kept.queue, NAMELESS, kept.state);
        self.queues.at(kept.queue).members.remove(row, kept.state);
        self.queues.at(kept.queue).ended.remove(kept.bytes, &self.retention);
        Some(kept)
    }

    /// Tells each queue its ended tasks, after a restart.
    pub(super) fn restore_ended(&mut self) {
        for (row, journal) in self.retention.in_order() {
            if let Some(kept) = self.retention.kept(row) {
                let queue = self.queues.at(kept.queue);
                queue.ended.add(row, journal, kept.bytes);
                queue.members.add(row, kept.state);
            }
        }
    }

    /// Lets ended tasks go that their queue keeps no longer, until `most` go in this commit.
    pub(super) fn forget_as_set(&mut self, most: usize, now: Micros) {
        if self.upkeep.queues.is_empty() {
            return;
        }
        for queue in self.upkeep.next() {
            while let Some(row) = self.too_much(queue, now) {
                if self.batch.forgotten.len() >= most {
                    self.upkeep.press(queue);
                    break;
                }
                self.forget_kept(row);
            }
        }
    }

    /// The oldest ended task of a queue, when it may not be kept.
    fn too_much(&mut self, queue: u32, now: Micros) -> Option<Row> {
        let queue = self.queues.at(queue);
        let (row, _) = queue.ended.order.front()?;
        let kept = self.retention.kept(*row)?;
        let old = queue.settings.keep_for.is_some_and(|keep| after(kept.at, keep) <= now);
        let big = queue.settings.keep_bytes.is_some_and(|keep| queue.ended.bytes > keep);
        (old || big).then_some(*row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_gets_its_turn() {
        let settings = QueueSettings { keep_bytes: Some(1), ..QueueSettings::default() };
        let mut upkeep = Upkeep::default();
        (0..200).for_each(|queue| upkeep.set(queue, &settings));
        upkeep.pressed.clear();
        let mut seen: Vec<u32> = (0..4).flat_map(|_| upkeep.next()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 200);
    }

    #[test]
    fn a_queue_without_such_settings_is_not_looked_at() {
        let mut upkeep = Upkeep::default();
        upkeep.set(3, &QueueSettings::default());
        upkeep.press(3);
        assert!(upkeep.next().is_empty());
    }
}
