//! The ledger: what the queue has promised, written down.
//!
//! The engine ([`crate::engine`]) decides in memory and writes each commit here before anybody is answered; it
//! builds memory again from here. [`sqlite`] keeps a file of its own, synced with each commit. [`redis`] keeps
//! the same rows where several daemons can reach them: one of them owns the ledger at a time, and whoever owned
//! it before can write no more.

pub(crate) mod redis;
pub(crate) mod sqlite;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    codec::{Damaged, Packer, Stored, Unpacker, unpack_change},
    core::{
        Core, Limits,
        batch::Batch,
        entry::{Entry, Row},
    },
    error::Error,
    record::{Durability, Spec, Task, TaskEvent},
    task::{Failure, Micros, State},
    trail::{Trail, pack_trail, unpack_trail},
};

/// The writing end, which one engine owns.
pub(crate) trait Ledger: Debug {
    /// Builds memory from what is written. Also the way back after a write that failed. Its tokens go on above every
    /// one that was ever given, also above those that the ledger has lost.
    ///
    /// # Errors
    /// The ledger cannot be read, is damaged, or belongs to another daemon.
    async fn recover(&mut self, limits: Limits, noise: u64, clock: Micros) -> Result<Core, Error>;

    /// Writes a batch, whole or not at all, at the ledger's durability; gives it back once it stands.
    ///
    /// # Errors
    /// [`Error::Deposed`] when another daemon owns the ledger now; else it is not known what is written, and
    /// memory must be built again.
    async fn write(&mut self, batch: Batch) -> Result<Batch, Error>;

    /// Payloads of stored tasks, in order; nothing for those whose record is gone or damaged.
    ///
    /// # Errors
    /// The ledger cannot be read.
    async fn payloads(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error>;

    /// Checkpoints of stored tasks, in order.
    ///
    /// # Errors
    /// The ledger cannot be read.
    async fn checkpoints(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error>;

    /// Called while there is nothing to write.
    ///
    /// # Errors
    /// [`Error::Deposed`] when another daemon owns the ledger now.
    async fn keep(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Number of the ownership under which it is written; grows with each owner.
    fn epoch(&self) -> u64 {
        0
    }

    /// What must be added to the daemon's clock to get the ledger's, microseconds.
    fn clock_offset(&self) -> Micros {
        0
    }
}

/// How a ledger stands, as its writing end last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What a commit survives.
    pub(crate) durability: Durability,
    /// Why it does not answer; none while it does.
    pub(crate) silent: Option<Error>,
}

impl Standing {
    /// One that answers.
    pub(crate) fn at(durability: Durability) -> Self {
        Self { durability, silent: None }
    }
}

/// Reads beside the engine: ended tasks, lists, old events.
#[async_trait]
pub(crate) trait Reader: Debug + Send + Sync {
    /// Ended tasks without payloads and results, in order; nothing for those that are not there, or live. However large
    /// they are, little of them is in memory at once.
    async fn endings(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Task>>, Error>;

    /// An ended task, whole.
    async fn ended(&self, id: Uuid) -> Result<Option<Task>, Error>;

    /// The payload of a stored task.
    async fn payload(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error>;

    /// The checkpoint of a stored task.
    async fn checkpoint(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error>;

    /// Events after a journal entry, oldest first, about `limit` of them.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error>;
}

/// A stored task as it was enqueued, without its payload.
#[derive(Debug, Clone)]
pub(crate) struct Enqueued {
    /// Id of the task.
    pub(crate) id: Uuid,
    /// Number of its row.
    pub(crate) row: Row,
    /// What its producer said.
    pub(crate) spec: Arc<Spec>,
    /// When it was stored.
    pub(crate) created: Micros,
    /// Not leased before.
    pub(crate) ready_at: Micros,
    /// Bytes of the payload.
    pub(crate) payload_len: u32,
}

/// What the ledger keeps of a task's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndRecord {
    /// How.
    pub(crate) state: State,
    /// Attempts begun.
    pub(crate) attempts: u32,
    /// When.
    pub(crate) at: Micros,
    /// What it completed with.
    pub(crate) result: Option<Arc<[u8]>>,
    /// What its last failed attempt said.
    pub(crate) error: Option<Failure>,
    /// How its attempts ended.
    pub(crate) trail: Option<Trail>,
}

impl Enqueued {
    /// The task before anything happened to it.
    pub(crate) fn task(self) -> Task {
        let mut entry = Entry::new(self.id, 0, self.spec, self.created, self.ready_at);
        entry.payload_len = self.payload_len;
        entry.view()
    }

    /// The task as it ended.
    pub(crate) fn ended(self, end: EndRecord) -> Task {
        let mut task = self.task();
        task.status.state = end.state;
        task.status.attempts = end.attempts;
        task.status.blocked_by = 0;
        task.status.updated = end.at;
        task.status.last_error = end.error.map(Arc::new);
        task.status.trail = end.trail.map(Arc::new);
        task.result = end.result;
        task
    }
}

/// Packs how attempts ended, as both ledgers keep it of an ended task.
pub(crate) fn packed_trail(trail: &Trail) -> Vec<u8> {
    let mut out = Packer::default();
    pack_trail(&mut out, trail);
    out.0
}

/// Reads a [`packed_trail`].
pub(crate) fn unpacked_trail(packed: &[u8]) -> Result<Trail, Damaged> {
    unpack_trail(&mut Unpacker(packed))
}

/// Every change of a journal row.
pub(crate) fn unpack_changes(packed: &[u8]) -> Result<Vec<Stored>, Damaged> {
    let mut from = Unpacker(packed);
    let mut changes = Vec::new();
    while !from.is_empty() {
        changes.push(unpack_change(&mut from)?);
    }
    Ok(changes)
}
