//! The packed forms that `state.lua` reads and writes.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    codec::{Damaged, pack_spec, unpack_spec},
    record::{NewTask, Spec, Status, Task},
    task::{Failure, Micros, Retry, State},
};

/// Reads fixed and length-prefixed fields, little-endian.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }

    fn short(&mut self) -> Result<u16, Damaged> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn float(&mut self) -> Result<f64, Damaged> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    fn time(&mut self) -> Result<Micros, Damaged> {
        Ok(whole(self.float()?))
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = usize::from(self.short()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| Damaged)
    }
}

/// A Lua number that holds microseconds; exact below 2^53.
#[expect(clippy::cast_possible_truncation, reason = "times are far below 2^53")]
fn whole(value: f64) -> Micros {
    value as Micros
}

/// A span as a Lua number.
pub(super) fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// A span as text for `tonumber`.
pub(super) fn micros_text(span: Duration) -> Vec<u8> {
    span.as_micros().to_string().into_bytes()
}

/// The name of a queue in Redis.
pub(super) fn queue_key(namespace: &str, queue: &str) -> Vec<u8> {
    [namespace.as_bytes(), b"\0", queue.as_bytes()].concat()
}

/// What begins a record: what the functions need to know of a task's attempts.
pub(super) fn record_head(retry: &Retry, timeout: Option<Duration>) -> Vec<u8> {
    let mut head = u16::try_from(retry.max_attempts).unwrap_or(u16::MAX).to_le_bytes().to_vec();
    let timeout = timeout.map_or(0.0, micros);
    for number in [micros(retry.initial), retry.factor, micros(retry.max), timeout] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head
}

/// What ends a record, opaque to the functions: the spec, then the payload.
pub(super) fn record_body(task: &NewTask) -> Vec<u8> {
    let spec = pack_spec(&task.spec);
    let mut body = u32::try_from(spec.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    body.extend_from_slice(&spec);
    body.extend_from_slice(&task.payload);
    body
}

/// Bytes before the times in a record.
const HEAD: usize = 34;

struct Record {
    created: Micros,
    spec: Spec,
    payload: Arc<[u8]>,
}

fn record(bytes: &[u8]) -> Result<Record, Damaged> {
    let mut from = Fields(bytes);
    from.take(HEAD)?;
    let (created, _ready, _priority) = (from.time()?, from.time()?, from.byte()?);
    let key = usize::from(from.byte()?);
    from.take(key)?;
    from.text()?;
    let length = u32::from_le_bytes(from.array()?) as usize;
    let spec = unpack_spec(from.take(length)?)?;
    Ok(Record { created, spec, payload: from.0.into() })
}

/// A status and the token of its lease.
fn status(bytes: &[u8], created: Micros) -> Result<(Status, u64), Damaged> {
    let mut from = Fields(bytes);
    let state = State::from_code(from.byte()?).ok_or(Damaged)?;
    let attempts = u32::from(from.short()?);
    let (updated, ready_at, expires) = (from.time()?, from.time()?, from.time()?);
    let token = u64::from_be_bytes(from.array()?);
    from.take(8 + 8 + 8 + 1)?;
    let worker = from.text()?.into();
    let (reason, message) = (from.text()?.to_owned(), from.text()?.to_owned());
    let failed = !(reason.is_empty() && message.is_empty());
    let last_error = failed.then(|| Arc::new(Failure { reason, message }));
    Ok((Status { state, attempts, created, updated, ready_at, worker, expires, last_error }, token))
}

/// A task from its id, status and record, and the token of its lease.
pub(super) fn task(id: &[u8], status_bytes: &[u8], record_bytes: &[u8]) -> Result<(Task, u64), Damaged> {
    let record = record(record_bytes)?;
    let (status, token) = status(status_bytes, record.created)?;
    let id = Uuid::from_slice(id).map_err(|_| Damaged)?;
    let task = Task { id, spec: Arc::new(record.spec), status, payload: Some(record.payload), result: None };
    Ok((task, token))
}

/// Lua numbers, one after another.
pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> Result<[Micros; N], Damaged> {
    let mut from = Fields(bytes);
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = from.time()?;
    }
    Ok(numbers)
}

/// The state and the time that a settlement answers; no state when the lease was lost.
pub(super) fn settled(bytes: &[u8]) -> Result<(Option<State>, Micros), Damaged> {
    let mut from = Fields(bytes);
    let state = State::from_code(from.byte()?);
    Ok((state, from.time()?))
}

/// Names of queues, each after its length.
pub(super) fn names(bytes: &[u8]) -> Result<Vec<&str>, Damaged> {
    let mut from = Fields(bytes);
    let mut names = Vec::new();
    while !from.0.is_empty() {
        names.push(from.text()?);
    }
    Ok(names)
}
