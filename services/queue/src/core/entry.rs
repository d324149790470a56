//! What memory holds of one live task.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    mark::Mark,
    record::{Spec, Status, Task},
    task::{Micros, State, after},
};

/// Number of a task's row in the store; grows with every task, and lies in the low bits of its id.
pub type Row = u64;

/// Bits of an id that hold the row.
const ROW_BITS: u32 = 40;

/// The id of row `row` stored at `now`: a UUIDv7 whose low 40 bits are the row, so that no index leads from
/// ids to rows; `noise` fills the other random bits.
pub fn id_of(row: Row, now: Micros, noise: u64) -> Uuid {
    let millis = u128::from(u64::try_from(now / 1_000).unwrap_or(0)) & ((1 << 48) - 1);
    let sub_millis = u128::from(u64::try_from(now % 1_000).unwrap_or(0)) << 2;
    let noise = u128::from(noise) & ((1 << (62 - ROW_BITS)) - 1);
    let value = (millis << 80)
        | (0x7 << 76)
        | (sub_millis << 64)
        | (0b10 << 62)
        | (noise << ROW_BITS)
        | u128::from(row & ((1 << ROW_BITS) - 1));
    Uuid::from_u128(value)
}

/// The row that an id names.
pub fn row_of(id: Uuid) -> Row {
    u64::try_from(id.as_u128() & ((1 << ROW_BITS) - 1)).unwrap_or(0)
}

/// The random bits of an id that [`id_of`] made.
pub fn noise_of(id: Uuid) -> u64 {
    u64::try_from(id.as_u128() >> ROW_BITS & ((1 << (62 - ROW_BITS)) - 1)).unwrap_or(0)
}

/// About the bytes that a task takes beside its payload and what is said of it, while it is kept whole.
const WHOLE: usize = 256;

/// A worker's hold on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Fencing token.
    pub token: u64,
    /// Who it was given to.
    pub mark: Mark,
    /// How long the lease was given for; the grace after a restart.
    pub duration: Duration,
    /// When the attempt must end whatever its heartbeats.
    pub deadline: Option<Micros>,
    /// Number of the stream that holds it; 0 for none, and after a restart.
    pub stream: u64,
    /// Place of the worker in memory, where its leases are counted.
    pub holder: u32,
    /// When it is looked at next, to take it back if it has expired. In memory only.
    pub due: Micros,
    /// When the last proof of the lease ends; none when it was never proven. In memory only.
    pub proven_until: Option<Micros>,
}

/// How a lease of a task that lives on ended; kept so that a repeated settlement gets the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The worker failed it.
    Failed,
    /// The worker released it.
    Released,
    /// It expired.
    Expired,
}

/// The name of no worker; shared, so that tasks without one cost no allocation.
pub fn nobody() -> Arc<str> {
    static NOBODY: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
    Arc::clone(&NOBODY)
}

/// A live task.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Id of the task.
    pub id: Uuid,
    /// Index of its queue.
    pub queue: u32,
    /// Slot of its group in the queue.
    pub slot: u32,
    /// What its producer said.
    pub spec: Arc<Spec>,
    /// Kept while the cache has room; else read from the store when the task is leased.
    pub payload: Option<Arc<[u8]>>,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// Where it is.
    pub status: Status,
    /// Who holds it, when leased.
    pub hold: Option<Hold>,
    /// Token and ending of the lease before.
    pub settled: Option<(u64, Ending)>,
    /// Number of the journal entry that holds its state; 0 when its row says it all.
    pub journal: u64,
}

impl Entry {
    /// A task as it is stored first: it waits for all that it was told to.
    pub fn new(id: Uuid, queue: u32, spec: Arc<Spec>, created: Micros, ready_at: Micros) -> Self {
        let terms = spec.terms.as_deref();
        let blocked_by = terms.map_or(0, |terms| u32::try_from(terms.after.len()).unwrap_or(u32::MAX));
        let deadline = terms.and_then(|terms| terms.deadline).map_or(0, |span| after(created, span));
        let state = if ready_at > created || blocked_by > 0 { State::Waiting } else { State::Ready };
        let status = Status {
            state,
            attempts: 0,
            blocked_by,
            created,
            updated: created,
            ready_at,
            worker: nobody(),
            expires: 0,
            deadline,
            last_error: None,
            trail: None,
        };
        Self {
            id,
            queue,
            slot: 0,
            spec,
            payload: None,
            payload_len: 0,
            status,
            hold: None,
            settled: None,
            journal: 0,
        }
    }

    /// About the bytes of memory that it takes while it is kept whole, its payload apart.
    pub(super) fn size(&self) -> usize {
        self.fixed_size() + self.status.size()
    }

    /// What of that stays as it is while the task lives.
    pub(super) fn fixed_size(&self) -> usize {
        WHOLE + self.spec.size()
    }

    /// Place of the worker that holds it.
    pub(super) fn holder(&self) -> Option<u32> {
        self.hold.as_ref().map(|hold| hold.holder)
    }

    /// What a reader sees of it.
    pub fn view(&self) -> Task {
        Task {
            id: self.id,
            spec: Arc::clone(&self.spec),
            status: self.status.clone(),
            payload: None,
            payload_len: self.payload_len,
            result: None,
            checkpoint: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_v7_that_carries_its_row() {
        let id = id_of(123_456_789, 1_700_000_000_123_456, u64::MAX);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(row_of(id), 123_456_789);
    }

    #[test]
    fn ids_order_by_time() {
        let earlier = id_of(9, 1_700_000_000_123_456, 77);
        assert!(earlier < id_of(1, 1_700_000_000_124_456, 0));
        assert!(earlier < id_of(1, 1_700_000_000_123_457, 0));
    }
}
