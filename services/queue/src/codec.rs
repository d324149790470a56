//! The packed form of tasks and changes that both stores keep: LEB128 numbers, length-prefixed text.
//!
//! The first byte of a record is its version, so that a later version can read what an earlier one wrote.

use std::{sync::Arc, time::Duration};

use crate::{
    core::{
        batch::Change,
        entry::{Ending, Hold, Row, nobody},
    },
    mark::Mark,
    record::{Spec, Status},
    task::{Failure, Micros, Retry, State},
    terms::Terms,
    trail::{pack_trail, unpack_trail},
};

/// Version of the packed form of a [`Spec`].
const SPEC_VERSION: u8 = 2;

/// The version before: labels take all the rest.
const SPEC_WITHOUT_EXTRAS: u8 = 1;

/// What few specs have comes last, each after its tag and its length.
const TERMS: u8 = 1;
const GROUP: u8 = 2;

/// A label: key and value.
type Label = (Box<str>, Box<str>);

/// Bytes that are not what was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packed record is damaged")]
pub struct Damaged;

impl From<Damaged> for crate::Error {
    fn from(damaged: Damaged) -> Self {
        Self::Store(damaged.to_string())
    }
}

/// Packs values one after another.
#[derive(Debug, Default)]
pub struct Packer(pub Vec<u8>);

impl Packer {
    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number, in 1 to 10 bytes.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(0x80 | u8::try_from(value & 0x7f).unwrap_or(0));
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or(0));
    }

    /// A time; times before the epoch become the epoch.
    pub fn time(&mut self, value: Micros) {
        self.number(u64::try_from(value).unwrap_or(0));
    }

    /// A span in microseconds.
    pub fn span(&mut self, value: Duration) {
        self.number(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }

    /// Text.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Bytes, after their length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }
}

/// Reads what a [`Packer`] packed.
#[derive(Debug)]
pub struct Unpacker<'a>(pub &'a [u8]);

impl<'a> Unpacker<'a> {
    /// True when all was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A time.
    pub fn time(&mut self) -> Result<Micros, Damaged> {
        i64::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// A span.
    pub fn span(&mut self) -> Result<Duration, Damaged> {
        Ok(Duration::from_micros(self.number()?))
    }

    /// A number of at most 32 bits.
    pub fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// So many bytes, without a length before them.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// Text.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Packs what a producer said.
pub fn pack_spec(spec: &Spec) -> Vec<u8> {
    let mut out = Packer(Vec::with_capacity(192));
    out.byte(SPEC_VERSION);
    for text in [&*spec.namespace, &*spec.queue, &*spec.kind, &*spec.request_id, &*spec.traceparent] {
        out.text(text);
    }
    out.0.extend_from_slice(&spec.body_hash.to_le_bytes());
    out.byte(spec.priority);
    pack_retry(&mut out, &spec.retry);
    out.span(spec.attempt_timeout.unwrap_or_default());
    pack_labels(&mut out, &spec.metadata);
    if let Some(terms) = &spec.terms {
        out.byte(TERMS);
        out.bytes(&terms.pack());
    }
    if !spec.group.is_empty() {
        out.byte(GROUP);
        out.text(&spec.group);
    }
    out.0
}

/// Reads a packed [`Spec`].
///
/// # Errors
/// The bytes are not one.
pub fn unpack_spec(bytes: &[u8]) -> Result<Spec, Damaged> {
    let mut from = Unpacker(bytes);
    let version = from.byte()?;
    if ![SPEC_VERSION, SPEC_WITHOUT_EXTRAS].contains(&version) {
        return Err(Damaged);
    }
    let mut text = || from.text().map(Box::<str>::from);
    let (namespace, queue, kind) = (text()?, text()?, text()?);
    let (request_id, traceparent) = (text()?, text()?);
    let body_hash = u64::from_le_bytes(from.fixed()?);
    let priority = from.byte()?;
    let retry = unpack_retry(&mut from)?;
    let attempt_timeout = Some(from.span()?).filter(|timeout| !timeout.is_zero());
    let metadata = match version {
        SPEC_WITHOUT_EXTRAS => unpack_all_labels(&mut from)?,
        _ => unpack_labels(&mut from)?,
    };
    let (mut terms, mut group) = (None, nobody());
    while !from.is_empty() {
        match from.byte()? {
            TERMS => terms = Some(Box::new(Terms::unpack(from.bytes()?)?)),
            GROUP => group = from.text()?.into(),
            _ => return Err(Damaged),
        }
    }
    let (namespace, queue, kind) = (namespace.into(), queue.into(), kind.into());
    Ok(Spec {
        namespace,
        queue,
        kind,
        metadata,
        request_id,
        body_hash,
        priority,
        retry,
        attempt_timeout,
        traceparent,
        terms,
        group,
    })
}

/// Packs how often a task is tried.
pub fn pack_retry(out: &mut Packer, retry: &Retry) {
    out.number(u64::from(retry.max_attempts));
    out.span(retry.initial);
    out.0.extend_from_slice(&retry.factor.to_le_bytes());
    out.span(retry.max);
}

/// Reads how often a task is tried.
///
/// # Errors
/// The bytes are not it.
pub fn unpack_retry(from: &mut Unpacker<'_>) -> Result<Retry, Damaged> {
    let (max_attempts, initial) = (from.small()?, from.span()?);
    let factor = f64::from_le_bytes(from.fixed()?);
    Ok(Retry { max_attempts, initial, factor, max: from.span()? })
}

/// Packs labels, after their number.
pub fn pack_labels(out: &mut Packer, labels: &[Label]) {
    out.number(labels.len() as u64);
    for (key, value) in labels {
        out.text(key);
        out.text(value);
    }
}

/// Reads labels.
///
/// # Errors
/// The bytes are not some.
pub fn unpack_labels(from: &mut Unpacker<'_>) -> Result<Vec<Label>, Damaged> {
    (0..from.number()?).map(|_| unpack_label(from)).collect()
}

fn unpack_all_labels(from: &mut Unpacker<'_>) -> Result<Vec<Label>, Damaged> {
    let mut labels = Vec::new();
    while !from.is_empty() {
        labels.push(unpack_label(from)?);
    }
    Ok(labels)
}

fn unpack_label(from: &mut Unpacker<'_>) -> Result<Label, Damaged> {
    Ok((from.text()?.into(), from.text()?.into()))
}

/// The changing part of a task, as a journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Row of the task.
    pub row: Row,
    /// True when watchers see it.
    pub event: bool,
    /// State after the change.
    pub status: Status,
    /// Who holds it.
    pub hold: Option<Hold>,
    /// How the lease before ended.
    pub settled: Option<(u64, Ending)>,
}

const HELD: u8 = 0x08;
const SETTLED: u8 = 0x10;
const FAILED: u8 = 0x20;
const EVENT: u8 = 0x40;
/// A byte of further flags follows.
const MORE: u8 = 0x80;

/// Further flag: the task waits for others.
const BLOCKED: u8 = 0x01;
/// Further flag: the task has a deadline.
const DEADLINE: u8 = 0x02;
/// Further flag: its attempts left something behind.
const TRAIL: u8 = 0x04;
/// Further flag: who holds the task is told; of leases of before it is not.
const MARKED: u8 = 0x08;

/// Packs the changes of a commit, as one row of a journal.
pub fn pack_changes(changes: &[Change]) -> Vec<u8> {
    let mut packed = Packer(Vec::with_capacity(changes.len() * 64));
    for change in changes {
        let hold = change.hold.as_ref();
        pack_change(&mut packed, change.row, change.event, &change.status, hold, change.settled);
    }
    packed.0
}

/// Packs a change behind those before it.
pub fn pack_change(
    out: &mut Packer,
    row: Row,
    event: bool,
    status: &Status,
    hold: Option<&Hold>,
    settled: Option<(u64, Ending)>,
) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let error = status.last_error.as_deref();
    let mark = hold.map(|hold| hold.mark).filter(|mark| !mark.is_nobodys());
    let flags = flag(hold.is_some(), HELD)
        | flag(settled.is_some(), SETTLED)
        | flag(error.is_some(), FAILED)
        | flag(event, EVENT);
    let more = flag(status.blocked_by > 0, BLOCKED)
        | flag(status.deadline != 0, DEADLINE)
        | flag(status.trail.is_some(), TRAIL)
        | flag(mark.is_some(), MARKED);
    out.byte(status.state.code() | flags | flag(more != 0, MORE));
    if more != 0 {
        out.byte(more);
    }
    out.number(row);
    out.number(u64::from(status.attempts));
    out.time(status.created);
    out.time(status.updated - status.created);
    out.time(status.ready_at);
    if let Some(hold) = hold {
        out.number(hold.token);
        out.span(hold.duration);
        out.time(hold.deadline.unwrap_or(0));
        out.time(status.expires);
        out.text(&status.worker);
    }
    if let Some((token, ending)) = settled {
        out.number(token);
        out.byte(ending_code(ending));
    }
    if let Some(error) = error {
        out.text(&error.reason);
        out.text(&error.message);
    }
    if status.blocked_by > 0 {
        out.number(u64::from(status.blocked_by));
    }
    if status.deadline != 0 {
        out.time(status.deadline);
    }
    if let Some(trail) = &status.trail {
        pack_trail(out, trail);
    }
    if let Some(mark) = mark {
        out.0.extend_from_slice(&mark.to_bytes());
    }
}

/// Reads the next change.
///
/// # Errors
/// The bytes are not one.
pub fn unpack_change(from: &mut Unpacker<'_>) -> Result<Stored, Damaged> {
    let flags = from.byte()?;
    let more = if flags & MORE != 0 { from.byte()? } else { 0 };
    let state = State::from_code(flags & 0x07).ok_or(Damaged)?;
    let (row, attempts) = (from.number()?, from.small()?);
    let created = from.time()?;
    let updated = created + from.time()?;
    let ready_at = from.time()?;
    let mut status = Status {
        state,
        attempts,
        blocked_by: 0,
        created,
        updated,
        ready_at,
        worker: nobody(),
        expires: 0,
        deadline: 0,
        last_error: None,
        trail: None,
    };
    let mut hold = None;
    if flags & HELD != 0 {
        let (token, duration) = (from.number()?, from.span()?);
        let deadline = Some(from.time()?).filter(|deadline| *deadline != 0);
        let mark = Mark::default();
        hold =
            Some(Hold { token, mark, duration, deadline, stream: 0, holder: 0, due: 0, proven_until: None });
        status.expires = from.time()?;
        status.worker = from.text()?.into();
    }
    let mut settled = None;
    if flags & SETTLED != 0 {
        settled = Some((from.number()?, ending_of(from.byte()?)?));
    }
    if flags & FAILED != 0 {
        status.last_error = Some(Arc::new(Failure::new(from.text()?, from.text()?)));
    }
    if more & BLOCKED != 0 {
        status.blocked_by = from.small()?;
    }
    if more & DEADLINE != 0 {
        status.deadline = from.time()?;
    }
    if more & TRAIL != 0 {
        status.trail = Some(Arc::new(unpack_trail(from)?));
    }
    if more & MARKED != 0 {
        let mark = Mark::from_bytes(from.fixed()?);
        hold.iter_mut().for_each(|hold| hold.mark = mark);
    }
    Ok(Stored { row, event: flags & EVENT != 0, status, hold, settled })
}

fn ending_code(ending: Ending) -> u8 {
    match ending {
        Ending::Failed => 1,
        Ending::Released => 2,
        Ending::Expired => 3,
    }
}

fn ending_of(code: u8) -> Result<Ending, Damaged> {
    match code {
        1 => Ok(Ending::Failed),
        2 => Ok(Ending::Released),
        3 => Ok(Ending::Expired),
        _ => Err(Damaged),
    }
}

mod trace_context;

pub use trace_context::{pack_trace, unpack_trace};

#[cfg(test)]
mod tests;
