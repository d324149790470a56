//! Live tasks by row; those that only stand are packed.
//!
//! A task whose payload is in memory, or that somebody holds, is *awake*: an [`Entry`] as it is worked with. All others
//! sleep in a few dozen bytes, so that a backlog of millions fits: what their queue and group say for them is left out,
//! and what few tasks have comes last. Whoever touches one wakes it, and puts it back.

use std::{borrow::Cow, sync::Arc};

use uuid::Uuid;

use crate::{
    codec::{
        Damaged, Packer, Unpacker, pack_change, pack_labels, pack_retry, pack_trace, unpack_change,
        unpack_labels, unpack_retry, unpack_trace,
    },
    core::{
        entry::{Entry, Row, id_of, noise_of},
        queues::Queues,
        rows::Rows,
    },
    record::Spec,
    task::{Micros, Retry, State},
    terms::Terms,
};

/// Where a task is in memory.
#[derive(Debug)]
enum Slot {
    /// Nothing while somebody has it in hand.
    Awake(Option<Box<Entry>>),
    Asleep(Box<[u8]>),
}

/// About the bytes that a packed task takes beside what is packed: its places here and in its queue.
const PLACES: usize = 96;

impl Slot {
    /// About the bytes that it takes.
    fn bytes(&self) -> usize {
        match self {
            Self::Awake(entry) => entry.as_ref().map_or(0, |entry| entry.size()),
            Self::Asleep(packed) => packed.len() + PLACES,
        }
    }
}

/// Every live task.
#[derive(Debug, Default)]
pub(super) struct Entries {
    rows: Rows<Slot>,
    /// About the bytes that they take, payloads apart; those of one that somebody has in hand come with it.
    bytes: usize,
    /// Where tasks are packed, so that each takes no more than it needs.
    bench: Packer,
}

impl Entries {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About the bytes of memory that they take with their places, payloads apart.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when a task lives.
    pub(super) fn contains(&self, row: Row) -> bool {
        self.rows.get(row).is_some()
    }

    /// A look at a task.
    pub(super) fn get(&self, row: Row, queues: &Queues) -> Option<Cow<'_, Entry>> {
        match self.rows.get(row)? {
            Slot::Awake(entry) => entry.as_deref().map(Cow::Borrowed),
            Slot::Asleep(packed) => Some(Cow::Owned(awoken(row, packed, queues))),
        }
    }

    /// Takes a task in hand; [`put`](Self::put) or [`remove`](Self::remove) must follow.
    pub(super) fn take(&mut self, row: Row, queues: &Queues) -> Option<Box<Entry>> {
        let slot = self.rows.get_mut(row)?;
        self.bytes = self.bytes.saturating_sub(slot.bytes());
        match slot {
            Slot::Awake(entry) => entry.take(),
            Slot::Asleep(packed) => Some(Box::new(awoken(row, packed, queues))),
        }
    }

    /// Puts a task where it belongs.
    pub(super) fn put(&mut self, row: Row, entry: Box<Entry>) {
        let slot = if entry.payload.is_none() && entry.hold.is_none() {
            self.bench.0.clear();
            pack(&mut self.bench, row, &entry);
            Slot::Asleep(Box::from(&*self.bench.0))
        } else {
            Slot::Awake(Some(entry))
        };
        self.bytes += slot.bytes();
        match self.rows.get_mut(row) {
            Some(before) => *before = slot,
            None => self.rows.insert(row, slot),
        }
    }

    /// A task that was taken in hand lives no more.
    pub(super) fn remove(&mut self, row: Row) {
        self.rows.remove(row);
    }

    /// Every row, ascending.
    pub(super) fn ascending(&self) -> impl Iterator<Item = Row> + use<> {
        self.rows.ascending()
    }
}

fn awoken(row: Row, packed: &[u8], queues: &Queues) -> Entry {
    unpack(row, packed, queues).expect("what was packed in memory comes back")
}

/// Flags beside the state, in the first byte.
const PLAIN_RETRY: u8 = 0x08;
const KEYED: u8 = 0x10;
const LABELLED: u8 = 0x20;
const BOUND: u8 = 0x40;
/// The status has more in it than times and attempts.
const EVENTFUL: u8 = 0x80;

fn pack(out: &mut Packer, row: Row, entry: &Entry) {
    let (spec, status) = (&*entry.spec, &entry.status);
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let eventful = status.blocked_by > 0
        || status.deadline != 0
        || status.last_error.is_some()
        || status.trail.is_some()
        || entry.settled.is_some();
    out.byte(
        status.state.code()
            | flag(spec.retry == Retry::default(), PLAIN_RETRY)
            | flag(!spec.request_id.is_empty(), KEYED)
            | flag(!spec.metadata.is_empty(), LABELLED)
            | flag(spec.terms.is_some(), BOUND)
            | flag(eventful, EVENTFUL),
    );
    pack_id(out, row, entry);
    out.number(u64::from(entry.queue));
    out.number(u64::from(entry.slot));
    out.number(u64::from(entry.payload_len));
    out.number(entry.journal);
    out.number((status.ready_at - status.created).cast_unsigned());
    out.number((status.updated - status.created).cast_unsigned());
    out.number(u64::from(status.attempts));
    pack_own(out, spec);
    if eventful {
        pack_change(out, row, false, status, None, entry.settled);
    }
}

/// An id follows from row, time and noise, unless it was made elsewhere.
fn pack_id(out: &mut Packer, row: Row, entry: &Entry) {
    let (created, noise) = (entry.status.created, noise_of(entry.id));
    out.time(created);
    out.number(noise << 1 | u64::from(id_of(row, created, noise) != entry.id));
    if id_of(row, created, noise) != entry.id {
        out.0.extend_from_slice(entry.id.as_bytes());
    }
}

/// What the queue and the group do not say of a task.
fn pack_own(out: &mut Packer, spec: &Spec) {
    out.byte(spec.priority);
    out.text(&spec.kind);
    out.span(spec.attempt_timeout.unwrap_or_default());
    pack_trace(out, &spec.traceparent);
    if spec.retry != Retry::default() {
        pack_retry(out, &spec.retry);
    }
    if !spec.request_id.is_empty() {
        out.text(&spec.request_id);
        out.0.extend_from_slice(&spec.body_hash.to_le_bytes());
    }
    if !spec.metadata.is_empty() {
        pack_labels(out, &spec.metadata);
    }
    if let Some(terms) = &spec.terms {
        out.bytes(&terms.pack());
    }
}

fn unpack(row: Row, packed: &[u8], queues: &Queues) -> Result<Entry, Damaged> {
    let mut from = Unpacker(packed);
    let flags = from.byte()?;
    let state = State::from_code(flags & 0x07).ok_or(Damaged)?;
    let created = from.time()?;
    let id = unpack_id(&mut from, row, created)?;
    let (queue, slot) = (from.small()?, from.small()?);
    let (payload_len, journal) = (from.small()?, from.number()?);
    let ready_at = created + from.number()?.cast_signed();
    let updated = created + from.number()?.cast_signed();
    let attempts = from.small()?;
    let spec = unpack_own(&mut from, flags, queues, queue, slot)?;
    let mut entry = Entry::new(id, queue, Arc::new(spec), created, ready_at);
    (entry.slot, entry.payload_len, entry.journal) = (slot, payload_len, journal);
    if flags & EVENTFUL != 0 {
        let change = unpack_change(&mut from)?;
        (entry.status, entry.settled) = (change.status, change.settled);
    } else {
        (entry.status.blocked_by, entry.status.deadline) = (0, 0);
    }
    (entry.status.state, entry.status.attempts) = (state, attempts);
    (entry.status.created, entry.status.ready_at, entry.status.updated) = (created, ready_at, updated);
    Ok(entry)
}

fn unpack_id(from: &mut Unpacker<'_>, row: Row, created: Micros) -> Result<Uuid, Damaged> {
    let noise = from.number()?;
    if noise & 1 == 0 {
        return Ok(id_of(row, created, noise >> 1));
    }
    Ok(Uuid::from_bytes(from.fixed()?))
}

fn unpack_own(
    from: &mut Unpacker<'_>,
    flags: u8,
    queues: &Queues,
    queue: u32,
    slot: u32,
) -> Result<Spec, Damaged> {
    let (namespace, name) = queues.names(queue);
    let (priority, kind) = (from.byte()?, from.text()?.into());
    let attempt_timeout = Some(from.span()?).filter(|timeout| !timeout.is_zero());
    let traceparent = unpack_trace(from)?;
    let retry = if flags & PLAIN_RETRY == 0 { unpack_retry(from)? } else { Retry::default() };
    let (mut request_id, mut body_hash) = (Box::default(), 0);
    if flags & KEYED != 0 {
        (request_id, body_hash) = (from.text()?.into(), u64::from_le_bytes(from.fixed()?));
    }
    let metadata = if flags & LABELLED == 0 { Vec::new() } else { unpack_labels(from)? };
    let terms = if flags & BOUND == 0 { None } else { Some(Box::new(Terms::unpack(from.bytes()?)?)) };
    Ok(Spec {
        namespace,
        queue: name,
        kind,
        metadata,
        request_id,
        body_hash,
        priority,
        retry,
        attempt_timeout,
        traceparent,
        group: queues.group_name(queue, slot),
        terms,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{core::entry::Ending, task::Failure};

    const NOW: Micros = 1_700_000_000_123_456;
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// One queue with a group, and a plain task of it in row 7.
    fn standing() -> (Queues, Entry) {
        let mut queues = Queues::default();
        let queue = queues.intern(&"n".into(), &"q".into(), 1).unwrap();
        let slot = queues.at(queue).join("tenant");
        let spec = Spec {
            namespace: "n".into(),
            queue: "q".into(),
            kind: "k".into(),
            metadata: Vec::new(),
            request_id: "".into(),
            body_hash: 0,
            priority: 5,
            retry: Retry::default(),
            attempt_timeout: None,
            traceparent: TRACE.into(),
            group: "tenant".into(),
            terms: None,
        };
        let mut entry = Entry::new(id_of(7, NOW, 0x3f_ffff), queue, Arc::new(spec), NOW, NOW);
        (entry.slot, entry.payload_len, entry.journal) = (slot, 256, 9);
        (queues, entry)
    }

    #[track_caller]
    fn comes_back(entry: Entry, queues: &Queues) {
        let mut entries = Entries::default();
        let (told, journal) = (entry.view(), entry.journal);
        let (slot, settled) = (entry.slot, entry.settled);
        entries.put(7, Box::new(entry));
        let woken = entries.take(7, queues).unwrap();
        assert_eq!(woken.view(), told);
        assert_eq!((woken.slot, woken.settled, woken.journal), (slot, settled, journal));
    }

    #[test]
    fn a_plain_task_sleeps_in_few_bytes_and_comes_back() {
        let (queues, entry) = standing();
        let mut out = Packer::default();
        pack(&mut out, 7, &entry);
        assert!(out.0.len() <= 56, "{} bytes", out.0.len());
        comes_back(entry, &queues);
    }

    #[test]
    fn what_few_tasks_have_comes_back() {
        let (queues, plain) = standing();
        let spec = Spec {
            metadata: vec![("a".into(), "1".into()), ("b".into(), "".into())],
            request_id: "r".into(),
            body_hash: 77,
            retry: Retry {
                max_attempts: 9,
                initial: Duration::ZERO,
                factor: 1.5,
                max: Duration::from_secs(9),
            },
            attempt_timeout: Some(Duration::from_secs(3)),
            traceparent: "00-anything".into(),
            terms: Some(Box::new(Terms { unique_key: "u".into(), ..Terms::default() })),
            ..(*plain.spec).clone()
        };
        let mut entry = Entry { id: Uuid::from_u128(7), spec: Arc::new(spec), ..plain };
        entry.status.state = State::Waiting;
        (entry.status.blocked_by, entry.status.deadline) = (2, NOW + 5);
        entry.status.last_error = Some(Arc::new(Failure::expired()));
        entry.settled = Some((8, Ending::Expired));
        comes_back(entry, &queues);
    }

    #[test]
    fn bytes_are_those_of_what_lives_whatever_was_done_to_it() {
        let (queues, entry) = standing();
        let mut entries = Entries::default();
        entries.put(7, Box::new(entry));
        let plain = entries.bytes();
        assert!((100..200).contains(&plain), "{plain} bytes");
        let mut entry = entries.take(7, &queues).unwrap();
        entry.status.last_error = Some(Arc::new(Failure::new("BAD", "m".repeat(4_096))));
        entries.put(7, entry);
        assert!(entries.bytes() >= plain + 4_096);
        let mut entry = entries.take(7, &queues).unwrap();
        entry.payload = Some(Arc::from([7]));
        entries.put(7, entry);
        assert!(entries.bytes() >= plain + 4_096, "awake as well");
        entries.take(7, &queues).unwrap();
        entries.remove(7);
        assert_eq!(entries.bytes(), 0);
    }

    #[test]
    fn one_that_is_held_stays_awake() {
        let (queues, mut entry) = standing();
        entry.payload = Some(Arc::from([7]));
        let mut entries = Entries::default();
        entries.put(7, Box::new(entry));
        assert!(matches!(entries.get(7, &queues), Some(Cow::Borrowed(_))));
        assert!(entries.take(7, &queues).unwrap().payload.is_some());
    }

    proptest! {
        #[test]
        fn times_come_back_whatever_the_clock_did(ready_at in any::<i32>(), updated in any::<i32>()) {
            let (queues, mut entry) = standing();
            entry.status.ready_at = NOW + i64::from(ready_at);
            entry.status.updated = NOW + i64::from(updated);
            comes_back(entry, &queues);
        }

        #[test]
        fn any_trace_comes_back(trace in "(00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]|00-[+0-9A-F-]{0,60}|[a-z]{0,9})") {
            let (queues, entry) = standing();
            let spec = Spec { traceparent: trace.into(), ..(*entry.spec).clone() };
            comes_back(Entry { spec: Arc::new(spec), ..entry }, &queues);
        }
    }
}
