//! The rows of the ledger in Redis: their keys and their packed form.
//!
//! Tasks lie in buckets of 1,024 neighbouring rows, so that no hash grows with the backlog, a list reads whole
//! neighbourhoods, and what is forgotten goes key by key:
//!
//! - `t:<bucket>` HASH row → task, `f:<bucket>` HASH row → how it ended, `b` ZSET of the buckets there are
//! - `p:<bucket>` HASH row → checkpoint, of tasks that have not ended
//! - `j` STREAM of the journal, one entry `<first>-0` for each commit, `m` HASH of
//!   the ledger's own facts (see `ledger.lua`), `c` HASH of what operators have set, JSON under a key

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    codec::{Damaged, Packer, Unpacker, pack_spec, unpack_spec},
    core::{
        batch::{Finished, Insert},
        entry::Row,
    },
    ledger::{EndRecord, Enqueued},
    task::{Failure, State},
    trail::{pack_trail, unpack_trail},
};

/// The hash tag of every key, which keeps all of them on one node of a cluster.
pub(crate) const TAG: &str = "nova.queue";

/// What every key begins with: the tag in braces.
const PREFIX: &str = "{nova.queue}:";

/// Rows of a bucket.
pub(super) const BUCKET: Row = 1_024;

/// Hash of facts.
pub(super) fn facts() -> Vec<u8> {
    format!("{PREFIX}m").into_bytes()
}

/// Stream of the journal.
pub(super) fn journal() -> Vec<u8> {
    format!("{PREFIX}j").into_bytes()
}

/// Set of the buckets there are.
pub(super) fn buckets() -> Vec<u8> {
    format!("{PREFIX}b").into_bytes()
}

/// Hash of what operators have set.
pub(super) fn settings() -> Vec<u8> {
    format!("{PREFIX}c").into_bytes()
}

/// Tasks of a bucket.
pub(super) fn tasks(bucket: u64) -> Vec<u8> {
    format!("{PREFIX}t:{bucket}").into_bytes()
}

/// Endings of a bucket.
pub(super) fn endings(bucket: u64) -> Vec<u8> {
    format!("{PREFIX}f:{bucket}").into_bytes()
}

/// Checkpoints of a bucket.
pub(super) fn checkpoints(bucket: u64) -> Vec<u8> {
    format!("{PREFIX}p:{bucket}").into_bytes()
}

/// The bucket of a row.
pub(super) fn bucket_of(row: Row) -> u64 {
    row / BUCKET
}

/// Packs a task with its payload.
pub(super) fn pack_task(task: &Insert) -> Vec<u8> {
    let spec = pack_spec(&task.spec);
    let mut out = Packer(Vec::with_capacity(spec.len() + task.payload.len() + 48));
    out.0.extend_from_slice(task.id.as_bytes());
    out.time(task.created);
    out.time(task.ready_at);
    out.bytes(&spec);
    out.0.extend_from_slice(&task.payload);
    out.0
}

/// Reads a packed task; the rest is its payload.
pub(super) fn unpack_task(row: Row, bytes: &[u8]) -> Result<(Enqueued, &[u8]), Damaged> {
    let (id, rest) = split_id(bytes)?;
    let mut from = Unpacker(rest);
    let (created, ready_at) = (from.time()?, from.time()?);
    let spec = Arc::new(unpack_spec(from.bytes()?)?);
    let payload_len = u32::try_from(from.0.len()).unwrap_or(u32::MAX);
    Ok((Enqueued { id, row, spec, created, ready_at, payload_len }, from.0))
}

/// The beginning of a packed row, without its payload or its result where that is long.
#[derive(Debug)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// How many bytes were left out behind them.
    cut: usize,
}

impl Head {
    /// The beginning of a row of so many bytes.
    pub(super) fn new(len: usize, bytes: Vec<u8>) -> Self {
        Self { cut: len.saturating_sub(bytes.len()), bytes }
    }

    /// The task that begins so.
    pub(super) fn task(&self, row: Row) -> Result<Enqueued, Damaged> {
        let (mut task, payload) = unpack_task(row, &self.bytes)?;
        task.payload_len = self.len_of(payload);
        Ok(task)
    }

    /// The ending that begins so, without its result, and the bytes of that.
    pub(super) fn ending(&self) -> Result<(Ending, u32), Damaged> {
        let (ending, result) = unpack_end(&self.bytes)?;
        Ok((ending, result.map_or(0, |begin| self.len_of(begin))))
    }

    /// Bytes of what begins with these.
    fn len_of(&self, begin: &[u8]) -> u32 {
        u32::try_from(begin.len() + self.cut).unwrap_or(u32::MAX)
    }
}

/// What a packed ending holds.
const RESULT: u8 = 0x01;
const FAILED: u8 = 0x02;
const TRAIL: u8 = 0x04;

/// Packs how a task ended.
pub(super) fn pack_ending(ended: &Finished) -> Vec<u8> {
    let mut out = Packer(Vec::with_capacity(64));
    out.0.extend_from_slice(ended.id.as_bytes());
    out.byte(ended.state.code());
    out.number(ended.token);
    out.number(u64::from(ended.attempts));
    out.number(ended.journal);
    out.time(ended.at);
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.byte(
        flag(ended.result.is_some(), RESULT)
            | flag(ended.error.is_some(), FAILED)
            | flag(ended.trail.is_some(), TRAIL),
    );
    if let Some(error) = ended.error.as_deref() {
        out.text(&error.reason);
        out.text(&error.message);
    }
    if let Some(trail) = ended.trail.as_deref() {
        pack_trail(&mut out, trail);
    }
    out.0.extend_from_slice(ended.result.as_deref().unwrap_or_default());
    out.0
}

/// A packed ending, read.
#[derive(Debug)]
pub(super) struct Ending {
    /// Token of the lease that it ended with; 0 for none, and where time ended it.
    pub(super) token: u64,
    /// Number of its last journal entry.
    pub(super) journal: u64,
    /// All of it.
    pub(super) record: EndRecord,
}

/// Reads a packed ending.
pub(super) fn unpack_ending(bytes: &[u8]) -> Result<Ending, Damaged> {
    let (mut ending, result) = unpack_end(bytes)?;
    ending.record.result = result.map(Arc::from);
    Ok(ending)
}

/// Reads what stands before the result, and gives that.
fn unpack_end(bytes: &[u8]) -> Result<(Ending, Option<&[u8]>), Damaged> {
    let (_, rest) = split_id(bytes)?;
    let mut from = Unpacker(rest);
    let state = State::from_code(from.byte()?).ok_or(Damaged)?;
    let (token, attempts, journal, at) = (from.number()?, from.small()?, from.number()?, from.time()?);
    let flags = from.byte()?;
    let mut error = None;
    if flags & FAILED != 0 {
        error = Some(Failure::new(from.text()?, from.text()?));
    }
    let trail = if flags & TRAIL == 0 { None } else { Some(unpack_trail(&mut from)?) };
    let record = EndRecord { state, attempts, at, result: None, error, trail };
    Ok((Ending { token, journal, record }, (flags & RESULT != 0).then_some(from.0)))
}

fn split_id(bytes: &[u8]) -> Result<(Uuid, &[u8]), Damaged> {
    let (id, rest) = bytes.split_first_chunk::<16>().ok_or(Damaged)?;
    Ok((Uuid::from_bytes(*id), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::Trail;

    #[test]
    fn an_ending_comes_back_as_it_was() {
        let error = Failure::new("R", "m");
        let trail = Trail { checkpoint: 7, ..Trail::default() };
        let ended = Finished {
            row: 7,
            id: Uuid::from_u128(9),
            state: State::Dead,
            token: u64::MAX,
            attempts: 3,
            journal: 11,
            at: 1_700_000_000_000_000,
            result: Some(Arc::from(&b"r"[..])),
            error: Some(Arc::new(error.clone())),
            trail: Some(Arc::new(trail.clone())),
        };
        let read = unpack_ending(&pack_ending(&ended)).unwrap();
        assert_eq!((read.journal, read.token), (11, u64::MAX));
        assert_eq!(read.record.error, Some(error));
        assert_eq!(read.record.trail, Some(trail));
        assert_eq!(read.record.result.as_deref(), Some(&b"r"[..]));
    }

    #[test]
    fn damaged_rows_are_refused() {
        assert!(unpack_ending(b"short").is_err());
        assert!(unpack_task(1, &[0; 20]).is_err());
    }
}
