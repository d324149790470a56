//! Building memory again from what a store kept.
//!
//! Order of calls: every kept task, every journal row from the oldest, then [`Core::restored`].

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    codec::Stored,
    core::{
        Core,
        entry::{Entry, Row},
        keys::{Known, key_of},
    },
    error::Error,
    record::Spec,
    task::{Micros, State, after},
};

/// A kept task as its row says.
#[derive(Debug)]
pub struct KeptTask {
    /// Number of the row.
    pub row: Row,
    /// Id of the task.
    pub id: Uuid,
    /// What its producer said.
    pub spec: Spec,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// When it was stored.
    pub created: Micros,
    /// Not leased before.
    pub ready_at: Micros,
}

/// How a kept task ended.
#[derive(Debug, Clone, Copy)]
pub struct KeptEnding {
    /// How.
    pub state: State,
    /// Token of the lease that it ended with; 0 for none, and where time ended it.
    pub token: u64,
    /// Number of its last journal entry.
    pub journal: u64,
    /// When.
    pub at: Micros,
    /// Bytes of its result.
    pub result_len: u32,
}

/// What counts on across restarts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Greatest token ever given.
    pub last_token: u64,
    /// Greatest row ever used.
    pub last_row: Row,
    /// Number of the last journal entry.
    pub last_entry: u64,
    /// Watches may resume only after this entry.
    pub floor: u64,
}

impl Core {
    /// A kept task; with `ending` it ended.
    ///
    /// # Errors
    /// There are more queues than may be.
    pub fn restore_task(&mut self, task: KeptTask, ending: Option<KeptEnding>) -> Result<(), Error> {
        let mut spec = task.spec;
        let queue = self.intern(&spec.namespace, &spec.queue)?;
        (spec.namespace, spec.queue) = self.queues.names(queue);
        if let Some(key) = key_of(&spec) {
            self.keys.insert(key, Known { id: task.id, body_hash: spec.body_hash });
        }
        let slot = if ending.is_none() { self.queues.at(queue).join(&spec.group) } else { 0 };
        if ending.is_none() {
            spec.group = self.queues.at(queue).group_name(slot);
        }
        let mut entry = Entry::new(task.id, queue, Arc::new(spec), task.created, task.ready_at);
        entry.slot = slot;
        entry.payload_len = task.payload_len;
        let Some(ending) = ending else {
            self.entries.put(task.row, Box::new(entry));
            return Ok(());
        };
        entry.status.state = ending.state;
        self.queues.enter(queue, 0, ending.state);
        let bytes = task.payload_len.saturating_add(ending.result_len);
        self.retention.keep(task.row, &entry, ending.token, ending.journal, bytes, ending.at);
        Ok(())
    }

    /// A journal row, oldest first.
    pub fn restore_journal(&mut self, first: u64, changes: Vec<Stored>) {
        let rows = changes.iter().map(|change| change.row).collect();
        for (number, change) in (first..).zip(changes) {
            if let Some(mut entry) = self.entries.take(change.row, &self.queues) {
                self.retention.journaled += usize::from(entry.journal == 0);
                entry.status = change.status;
                entry.hold = change.hold;
                entry.settled = change.settled;
                entry.journal = number;
                self.entries.put(change.row, entry);
            }
        }
        self.retention.wrote(first, rows);
    }

    /// Ends the building: every live lease gets a grace of one duration from `now`, so that an outage burns
    /// no attempt, and every task is put where it will be found.
    pub fn restored(&mut self, counters: Counters, now: Micros) {
        let rows = self.restore_counters(counters, now);
        self.restore_places(rows, now);
        self.restore_rest(now);
    }

    /// The first step of [`restored`](Self::restored): gives the rows of all live tasks.
    pub fn restore_counters(&mut self, counters: Counters, now: Micros) -> impl Iterator<Item = Row> + use<> {
        self.last_token = counters.last_token;
        self.next_row = counters.last_row + 1;
        self.next_entry = counters.last_entry + 1;
        self.retention.floor = counters.floor;
        self.restore_ended();
        (self.since, self.now) = (now, now);
        self.entries.ascending()
    }

    /// The second step, in as many parts as the caller likes: puts some of these rows in their places; false when there
    /// were none.
    pub fn restore_places(&mut self, rows: impl Iterator<Item = Row>, now: Micros) -> bool {
        let mut any = false;
        for row in rows {
            any = true;
            if let Some(mut entry) = self.entries.take(row, &self.queues) {
                self.restore_place(row, &mut entry, now);
                self.entries.put(row, entry);
            }
        }
        any
    }

    /// The last step.
    pub fn restore_rest(&mut self, now: Micros) {
        self.restore_cascades();
        self.queues.restored(now);
    }

    fn restore_place(&mut self, row: Row, entry: &mut Entry, now: Micros) {
        self.restore_edges(row, entry);
        let grace = entry.hold.as_ref().map_or(Duration::ZERO, |hold| hold.duration);
        if entry.status.state == State::Leased {
            entry.status.expires = entry.status.expires.max(after(now, grace));
            let expires = entry.status.expires;
            self.assume_proven(row, entry, expires, now);
        }
        if let Some(hold) = &mut entry.hold {
            hold.holder = self.holders.place(&entry.spec.namespace, &entry.status.worker);
            self.holders.moved(None, Some(hold.holder));
        }
        self.enlist(row, entry);
        self.place(row, entry);
        self.lock(entry);
        self.deadlines.add(row, entry);
    }
}
