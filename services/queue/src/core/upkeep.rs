//! What settings say of ended tasks: how long a queue keeps them, and how many bytes of them.
//!
//! Each queue knows its ended tasks in the order in which they ended. A commit looks at the queues whose tasks
//! ended in it and, in turn, at some others with such settings, and lets go a bounded number of tasks.

use std::collections::BTreeSet;

use crate::{
    core::{
        Core,
        ended::Ended,
        entry::{Entry, Row},
        groups::NAMELESS,
        retention::Kept,
        rows::Rows,
    },
    record::QueueSettings,
    task::{Micros, after},
};

/// Queues that a commit looks at in turn.
const ROUND: usize = 64;

/// Number of the list of a queue's ended tasks.
const OF_QUEUE: usize = 1;

/// Ended tasks of one queue.
#[derive(Debug, Default)]
pub(super) struct EndedTasks {
    order: Ended<OF_QUEUE>,
    /// Bytes of their payloads and results.
    bytes: u64,
}

impl EndedTasks {
    fn add(&mut self, row: Row, bytes: u32, kept: &mut Rows<Kept>) {
        self.order.add(row, kept);
        self.bytes += u64::from(bytes);
    }

    fn remove(&mut self, row: Row, bytes: u32, kept: &mut Rows<Kept>) {
        if self.order.remove(row, kept) {
            self.bytes = self.bytes.saturating_sub(u64::from(bytes));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
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
        self.retention.keep(row, entry, token, self.next_entry, bytes, now);
        self.list_ended(row);
        if !self.upkeep.queues.is_empty() {
            self.upkeep.press(entry.queue);
        }
    }

    /// Adds a task that ended after all others to the lists.
    fn list_ended(&mut self, row: Row) {
        self.retention.shelve(row);
        let Some(Kept { queue, state, bytes, .. }) = self.retention.kept(row).copied() else { return };
        self.queues.at(queue).members.add(row, state);
        self.queues.at(queue).ended.add(row, bytes, &mut self.retention.kept);
    }

    /// Takes an ended task out of what is kept.
    pub(super) fn take_kept(&mut self, row: Row) -> Option<Kept> {
        let Kept { queue, state, bytes, .. } = *self.retention.kept(row)?;
        self.queues.leave(queue, NAMELESS, state);
        self.queues.at(queue).members.remove(row, state);
        self.queues.at(queue).ended.remove(row, bytes, &mut self.retention.kept);
        self.queues.emptied(queue);
        self.retention.take(row)
    }

    /// Lists every ended task, after a restart.
    pub(super) fn restore_ended(&mut self) {
        for row in self.retention.in_order() {
            self.list_ended(row);
        }
    }

    /// Lets ended tasks go that their queue keeps no longer, until `most` go in this commit.
    pub(super) fn forget_as_set(&mut self, most: usize, now: Micros) {
        if self.upkeep.queues.is_empty() {
            return;
        }
        let mut left = most;
        for queue in self.upkeep.next() {
            while self.has_too_much(queue, now) {
                if left == 0 {
                    self.upkeep.press(queue);
                    break;
                }
                left -= 1;
                self.forget_oldest(queue);
            }
        }
    }

    /// Forgets the ended task that a queue has kept for the longest time; false when it keeps none.
    pub(super) fn forget_oldest(&mut self, queue: u32) -> bool {
        let ended = &mut self.queues.at(queue).ended;
        let Some(row) = ended.order.oldest() else { return false };
        let bytes = self.retention.kept(row).map_or(0, |kept| kept.bytes);
        ended.remove(row, bytes, &mut self.retention.kept);
        // One that is waited for goes later: off the list, it does not hold up the others.
        self.forget_parent(row);
        true
    }

    /// Whether the oldest ended task of a queue may not be kept.
    fn has_too_much(&mut self, queue: u32, now: Micros) -> bool {
        let queue = self.queues.at(queue);
        let Some(oldest) = queue.ended.order.oldest().and_then(|row| self.retention.kept(row)) else {
            return false;
        };
        let old = queue.settings.keep_for.is_some_and(|keep| after(oldest.at, keep) <= now);
        old || queue.settings.keep_bytes.is_some_and(|keep| queue.ended.bytes > keep)
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
