//! What is kept of the past, and when it goes: the journal and ended tasks.
//!
//! Dead letters are kept apart from tasks that completed or were cancelled: somebody has to look at them, and a queue
//! that is busy must not push out what failed in another.
//!
//! The journal holds the changes of live tasks and is the event log of watches. Its oldest rows go once enough
//! newer entries exist; the state of a task that still lives only there is carried over into the newest row,
//! as a cleaner of a log does. A row is dropped only while the journal is at least twice what lives in it, so
//! carrying costs each entry a constant.

use std::{collections::VecDeque, time::Duration};

use uuid::Uuid;

use crate::{
    core::{
        Core,
        batch::Batch,
        ended::{Ended, LISTS, Neighbours},
        entry::{Entry, Row, row_of},
        keys::{Key, key_of},
        rows::Rows,
    },
    record::LeaseRef,
    task::{Micros, State, after},
};

/// Ended tasks and journal entries go in steps of this many.
const STEP: usize = 1_024;

/// Most of either that one commit lets go, unless it adds more than half as many itself.
const MOST: usize = 4_096;

/// A journal row in the store.
#[derive(Debug)]
struct JournalRow {
    first: u64,
    rows: Box<[Row]>,
}

/// An ended task that is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Id of the task.
    pub(super) id: Uuid,
    /// Index of its queue.
    pub(super) queue: u32,
    /// How it ended.
    pub(super) state: State,
    /// Token of the lease that it ended with; 0 for none, and where time ended it.
    pub(super) token: u64,
    /// Its idempotency key.
    pub(super) key: Option<Key>,
    /// Number of its last journal entry.
    pub(super) journal: u64,
    /// Bytes of its payload and its result.
    pub(super) bytes: u32,
    /// When it ended.
    pub(super) at: Micros,
    /// Its places in the lists that it is in.
    pub(super) lists: [Option<Neighbours>; LISTS],
}

/// Number of the list of ended tasks that are kept by the same rule.
const SHELF: usize = 0;

/// How many ended tasks are kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Most of them.
    pub most: usize,
    /// Time after their end.
    pub span: Duration,
}

/// The shelves.
const SHELVES: usize = 2;

/// The shelf of tasks that ended so.
fn shelf_of(state: State) -> usize {
    usize::from(state == State::Dead)
}

/// What is kept, oldest first.
#[derive(Debug, Default)]
pub(super) struct Retention {
    journal: VecDeque<JournalRow>,
    entries: usize,
    shelves: [Ended<SHELF>; SHELVES],
    /// Every ended task that is kept.
    pub(super) kept: Rows<Kept>,
    /// Live tasks whose state is in the journal.
    pub(super) journaled: usize,
    /// Watches may resume only after this entry.
    pub(super) floor: u64,
}

impl Retention {
    /// What is kept of a task that ended with journal entry `journal`; [`shelve`](Self::shelve) must follow.
    pub(super) fn keep(&mut self, row: Row, entry: &Entry, token: u64, journal: u64, bytes: u32, at: Micros) {
        let (id, queue, state, key) = (entry.id, entry.queue, entry.status.state, key_of(&entry.spec));
        let kept = Kept { id, queue, state, token, key, journal, bytes, at, lists: [None; LISTS] };
        self.kept.insert(row, kept);
    }

    /// Puts a task that ended after all others with those that are kept by the same rule.
    pub(super) fn shelve(&mut self, row: Row) {
        let Some(state) = self.kept(row).map(|kept| kept.state) else { return };
        self.shelves[shelf_of(state)].add(row, &mut self.kept);
    }

    /// Every ended task, in the order in which they ended.
    pub(super) fn in_order(&self) -> Vec<Row> {
        let journal = |row: &Row| self.kept(*row).map(|kept| kept.journal);
        let mut rows: Vec<Row> = self.kept.ascending().collect();
        rows.sort_by_cached_key(journal);
        rows
    }

    /// An ended task that is kept.
    pub(super) fn kept(&self, row: Row) -> Option<&Kept> {
        self.kept.get(row)
    }

    /// The ended task that a lease was ended with, if it is kept.
    pub(super) fn ended_by(&self, lease: LeaseRef) -> Option<&Kept> {
        self.kept(row_of(lease.id)).filter(|kept| kept.id == lease.id && kept.token == lease.token)
    }

    /// Takes an ended task out.
    pub(super) fn take(&mut self, row: Row) -> Option<Kept> {
        let state = self.kept(row)?.state;
        self.shelves[shelf_of(state)].remove(row, &mut self.kept);
        self.kept.remove(row)
    }

    /// The oldest task of a shelf.
    fn oldest(&self, shelf: usize) -> Option<(Row, &Kept)> {
        let row = self.shelves[shelf].oldest()?;
        Some((row, self.kept(row)?))
    }

    /// Takes the oldest task off its shelf, when it is kept no longer; it is known until it is forgotten.
    fn take_overdue(&mut self, shelf: usize, keep: Keep, now: Micros) -> Option<Row> {
        let (row, kept) = self.oldest(shelf)?;
        let overdue = self.shelves[shelf].len() > keep.most || after(kept.at, keep.span) <= now;
        (overdue && self.shelves[shelf].remove(row, &mut self.kept)).then_some(row)
    }

    /// Whether it is time to look at a shelf: not at every task that ends.
    fn is_pressed(&self, shelf: usize, keep: Keep, now: Micros) -> bool {
        let old = self.oldest(shelf).is_some_and(|(_, kept)| after(kept.at, keep.span) <= now);
        old || self.shelves[shelf].len() >= keep.most.saturating_add(STEP)
    }

    /// How many ended tasks are kept, dead letters and others.
    #[cfg(test)]
    pub(super) fn shelved(&self) -> usize {
        self.shelves.iter().map(Ended::len).sum()
    }

    /// A journal row is in the store.
    pub(super) fn wrote(&mut self, first: u64, rows: Box<[Row]>) {
        self.entries += rows.len();
        self.journal.push_back(JournalRow { first, rows });
    }

    fn surplus(&self, keep: usize) -> usize {
        self.entries.saturating_sub(keep.max(2 * self.journaled))
    }
}

impl Core {
    /// What the next commit must write; memory counts it as written from now on.
    pub fn take_batch(&mut self, now: Micros) -> Batch {
        self.forget_ended(now);
        self.forget_as_set(MOST.max(2 * self.batch.finished.len()), now);
        self.drop_journal();
        self.batch.forgotten.sort_unstable();
        self.batch.facts.append(&mut self.queues.signals.facts);
        let next = self.batch.successor();
        let mut batch = std::mem::replace(&mut self.batch, next);
        batch.first = self.next_entry - batch.changes.len() as u64;
        batch.floor = self.retention.floor;
        batch.last_token = self.last_token;
        if !batch.changes.is_empty() {
            let rows = batch.changes.iter().map(|change| change.row).collect();
            self.retention.wrote(batch.first, rows);
        }
        batch
    }

    /// Lets the oldest ended tasks go, with their keys, once their retention is over.
    fn forget_ended(&mut self, now: Micros) {
        let most = MOST.max(2 * self.batch.finished.len());
        for (shelf, keep) in [self.limits.finished, self.limits.dead].into_iter().enumerate() {
            if !self.retention.is_pressed(shelf, keep, now) {
                continue;
            }
            for _ in 0..most {
                let Some(row) = self.retention.take_overdue(shelf, keep, now) else { break };
                // One that is waited for goes later.
                self.forget_parent(row);
            }
        }
    }

    /// Forgets an ended task; false when there is none.
    pub(super) fn forget_kept(&mut self, row: Row) -> bool {
        let Some(kept) = self.take_kept(row) else { return false };
        if let Some(key) = kept.key {
            self.keys.remove(key);
        }
        self.retention.floor = self.retention.floor.max(kept.journal);
        self.batch.forgotten.push(row);
        true
    }

    /// Drops the oldest journal rows and carries over what lives in them.
    fn drop_journal(&mut self) {
        if self.retention.surplus(self.limits.events) < STEP {
            return;
        }
        let most = MOST.max(2 * self.batch.changes.len());
        let mut done = 0;
        while done < most && self.retention.surplus(self.limits.events) > 0 {
            let Some(row) = self.retention.journal.pop_front() else { return };
            done += row.rows.len();
            self.retention.entries -= row.rows.len();
            let last = row.first + row.rows.len() as u64 - 1;
            self.retention.floor = self.retention.floor.max(last);
            self.batch.dropped = Some(row.first);
            self.carry(&row.rows, row.first..=last);
        }
    }

    fn carry(&mut self, rows: &[Row], numbers: std::ops::RangeInclusive<u64>) {
        for row in rows {
            let Some(mut entry) = self.entries.take(*row, &self.queues) else { continue };
            if numbers.contains(&entry.journal) {
                self.note(*row, &mut entry, false);
            }
            self.entries.put(*row, entry);
        }
    }

    /// Watches may resume only after this journal entry.
    pub fn floor(&self) -> u64 {
        self.retention.floor
    }

    /// Number that the next journal entry gets.
    pub fn head(&self) -> u64 {
        self.next_entry - 1
    }

    /// How many tasks live.
    pub fn live_len(&self) -> usize {
        self.entries.len()
    }
}
