//! What a commit must write: the changes of memory since the last one.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{
    core::{
        entry::{Ending, Entry, Hold, Row},
        schedules::Tick,
    },
    record::{Spec, Status},
    task::{Failure, Micros, State},
    trail::Trail,
};

/// A new task's row.
#[derive(Debug)]
pub struct Insert {
    /// Number of the row.
    pub row: Row,
    /// Id of the task.
    pub id: Uuid,
    /// What its producer said.
    pub spec: Arc<Spec>,
    /// What its handler is given.
    pub payload: Arc<[u8]>,
    /// When it was stored.
    pub created: Micros,
    /// Not leased before.
    pub ready_at: Micros,
}

/// The state of a task after a change; the last one of a task is its state.
#[derive(Debug, Clone)]
pub struct Change {
    /// Row of the task.
    pub row: Row,
    /// True when watchers see it; false when it only carries a state over from a journal row that goes.
    pub event: bool,
    /// Id of the task.
    pub id: Uuid,
    /// What its producer said.
    pub spec: Arc<Spec>,
    /// State after the change.
    pub status: Status,
    /// Who holds it.
    pub hold: Option<Hold>,
    /// How the lease before ended.
    pub settled: Option<(u64, Ending)>,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// What it completed with.
    pub result: Option<Arc<[u8]>>,
}

impl Change {
    /// The state of `entry` as it is now.
    pub fn of(row: Row, entry: &Entry, event: bool) -> Self {
        Self {
            row,
            event,
            id: entry.id,
            spec: Arc::clone(&entry.spec),
            status: entry.status.clone(),
            hold: entry.hold.clone(),
            settled: entry.settled,
            payload_len: entry.payload_len,
            result: None,
        }
    }
}

/// A task that ended.
#[derive(Debug)]
pub struct Finished {
    /// Row of the task.
    pub row: Row,
    /// Id of the task.
    pub id: Uuid,
    /// How it ended.
    pub state: State,
    /// Token of the lease that it ended with; 0 for none, and where time ended it.
    pub token: u64,
    /// Attempts begun.
    pub attempts: u32,
    /// Number of its last journal entry.
    pub journal: u64,
    /// When it ended.
    pub at: Micros,
    /// What it completed with.
    pub result: Option<Arc<[u8]>>,
    /// What its last failed attempt said.
    pub error: Option<Arc<Failure>>,
    /// How its attempts ended.
    pub trail: Option<Arc<Trail>>,
}

/// Most rows of a kind that room is made for.
const ROOM: usize = 4_096;

/// Everything that one transaction writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// New tasks.
    pub inserts: Vec<Insert>,
    /// Changes of state, in order; entry number of the first is [`first`](Self::first).
    pub changes: Vec<Change>,
    /// Tasks that ended.
    pub finished: Vec<Finished>,
    /// Journal number of the first change.
    pub first: u64,
    /// Rows of ended tasks whose retention is over, ascending.
    pub forgotten: Vec<Row>,
    /// Rows of dead tasks that live again.
    pub revived: Vec<Row>,
    /// Facts that were set, or with nothing, unset.
    pub facts: BTreeMap<String, Option<String>>,
    /// Ticks of schedules, to be counted once they are written.
    pub ticks: Vec<Tick>,
    /// Checkpoints that were left, or with nothing, dropped.
    pub checkpoints: BTreeMap<Row, Option<Arc<[u8]>>>,
    /// Journal rows up to this first number go.
    pub dropped: Option<u64>,
    /// Watches may resume only after this entry.
    pub floor: u64,
    /// Greatest token ever given.
    pub last_token: u64,
}

impl Batch {
    /// An empty one with room for about as much, since what is enqueued at once is leased and ends at once: thousands of
    /// rows are not moved while it grows.
    pub(crate) fn successor(&self) -> Self {
        Self {
            inserts: Vec::with_capacity(self.inserts.len().min(ROOM)),
            changes: Vec::with_capacity(self.changes.len().min(ROOM)),
            finished: Vec::with_capacity(self.finished.len().min(ROOM)),
            ..Self::default()
        }
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty()
            && self.changes.is_empty()
            && self.forgotten.is_empty()
            && self.dropped.is_none()
            && self.facts.is_empty()
            && self.checkpoints.is_empty()
    }
}
