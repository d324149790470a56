//! From the domain to the wire.

use std::sync::Arc;

use bytes::Bytes;
use nova_proto::queue::v1 as pb;
use nova_types::{Timestamp, wire};
use uuid::Uuid;

use crate::{
    intake::Intake,
    mark::Mark,
    record::{Beat, Cursor, Durability, Lease, LeaseRef, Report, Settled, Settlement, Task},
    task::{Failure, Micros, Retry, State},
    trail::Attempt,
};

/// A time; 0 is unset.
pub(super) fn time(micros: Micros) -> Option<prost_types::Timestamp> {
    (micros > 0).then(|| Timestamp::from_micros(micros).to_wire())
}

/// An id. Written without the formatter, whose cost shows where thousands go out a second.
pub(super) fn id_text(id: Uuid) -> String {
    let mut text = Uuid::encode_buffer();
    id.hyphenated().encode_lower(&mut text).to_owned()
}

/// A state.
pub(super) fn state(state: State) -> pb::TaskState {
    match state {
        State::Waiting => pb::TaskState::Waiting,
        State::Ready => pb::TaskState::Ready,
        State::Leased => pb::TaskState::Leased,
        State::Completed => pb::TaskState::Completed,
        State::Dead => pb::TaskState::Dead,
        State::Cancelled => pb::TaskState::Cancelled,
    }
}

/// What a queue lets through.
pub(super) fn intake(intake: Intake) -> pb::QueueIntake {
    match intake {
        Intake::Open => pb::QueueIntake::Open,
        Intake::Paused => pb::QueueIntake::Paused,
        Intake::Draining => pb::QueueIntake::Draining,
        Intake::Closed => pb::QueueIntake::Closed,
    }
}

/// The lease that a proof is about.
pub(super) fn proven(lease: &nova_rpc::Lease, mark: Mark) -> (Arc<str>, LeaseRef) {
    let id = Uuid::from_bytes(*lease.task.as_bytes());
    (Arc::from(lease.namespace.as_ref()), LeaseRef { id, token: lease.token, mark })
}

/// A level of durability.
pub(super) fn durability(durability: Durability) -> pb::Durability {
    match durability {
        Durability::Memory => pb::Durability::Memory,
        Durability::Aof => pb::Durability::Aof,
        Durability::Synced => pb::Durability::Synced,
        Durability::Replicated => pb::Durability::Replicated,
    }
}

/// A task.
pub(super) fn task(task: Task) -> pb::Task {
    let Task { id, spec, status, payload, result, checkpoint, .. } = task;
    let metadata = spec.metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let trail = status.trail.as_deref();
    let progress = trail.and_then(|trail| trail.progress.as_ref());
    let history = trail.map_or(&[][..], |trail| &trail.history);
    let terms = spec.terms.as_deref();
    pb::Task {
        id: id_text(id),
        namespace: spec.namespace.as_ref().into(),
        queue: spec.queue.as_ref().into(),
        kind: spec.kind.as_ref().into(),
        payload: bytes(payload),
        metadata: metadata.collect(),
        request_id: spec.request_id.as_ref().into(),
        priority: u32::from(spec.priority),
        state: state(status.state).into(),
        attempts: status.attempts,
        max_attempts: spec.retry.max_attempts,
        create_time: time(status.created),
        update_time: time(status.updated),
        ready_time: time(status.ready_at),
        worker: status.worker.as_ref().into(),
        lease_expire_time: time(status.expires),
        result: bytes(result),
        last_error: status.last_error.as_deref().map(task_error),
        traceparent: spec.traceparent.as_ref().into(),
        group: spec.group.as_ref().into(),
        unique_key: terms.map(|terms| terms.unique_key.to_string()).unwrap_or_default(),
        after: terms.into_iter().flat_map(|terms| &terms.after).copied().map(id_text).collect(),
        blocked_by: status.blocked_by,
        deadline_time: time(status.deadline),
        progress: progress
            .map(|progress| pb::Progress { fraction: progress.fraction(), note: progress.note.to_string() }),
        checkpoint: bytes(checkpoint),
        history: history.iter().map(attempt).collect(),
        retry: None,
        attempt_timeout: spec.attempt_timeout.map(wire::to_duration),
    }
}

/// A task with what is told only where it is read alone.
pub(super) fn whole_task(whole: Task) -> pb::Task {
    let retry = Some(retry(&whole.spec.retry));
    pb::Task { retry, ..task(whole) }
}

fn retry(retry: &Retry) -> pb::RetryPolicy {
    pb::RetryPolicy {
        max_attempts: retry.max_attempts,
        initial_backoff: Some(wire::to_duration(retry.initial)),
        factor: retry.factor,
        max_backoff: Some(wire::to_duration(retry.max)),
    }
}

fn task_error(error: &Failure) -> pb::TaskError {
    pb::TaskError { reason: error.reason.clone(), message: error.message.clone() }
}

fn attempt(attempt: &Attempt) -> pb::Attempt {
    pb::Attempt {
        number: attempt.number,
        worker: attempt.worker.to_string(),
        start_time: time(attempt.start),
        end_time: time(attempt.end),
        error: attempt.error.as_deref().map(task_error),
        traceparent: attempt.error.as_ref().map_or_else(String::new, |error| error.traceparent.to_string()),
    }
}

fn bytes(shared: Option<Arc<[u8]>>) -> Bytes {
    shared.map(Bytes::from_owner).unwrap_or_default()
}

/// A lease with its task.
pub(super) fn lease(lease: Lease) -> pb::Lease {
    pb::Lease {
        token: lease.token,
        attempt: lease.task.status.attempts,
        expire_time: time(lease.task.status.expires),
        duration: Some(wire::to_duration(lease.duration)),
        task: Some(task(lease.task)),
    }
}

/// The leases that a heartbeat is about, in the order in which they are answered.
pub(super) fn reported(leases: &[LeaseRef], reports: &[Report]) -> Vec<LeaseRef> {
    leases.iter().copied().chain(reports.iter().map(|report| report.lease)).collect()
}

/// Answers to heartbeats.
pub(super) fn heartbeats(leases: &[LeaseRef], beats: &[Beat]) -> pb::HeartbeatResponse {
    let result = |(lease, beat): (&LeaseRef, &Beat)| pb::HeartbeatResult {
        task_id: id_text(lease.id),
        lost: !matches!(beat, Beat::Until(_)),
        expire_time: if let Beat::Until(end) = beat { time(*end) } else { None },
        cancelled: *beat == Beat::Cancelled,
    };
    pb::HeartbeatResponse { results: leases.iter().zip(beats).map(result).collect() }
}

/// A lease, by name.
pub(super) fn lease_ref(lease: LeaseRef) -> pb::LeaseRef {
    pb::LeaseRef { task_id: id_text(lease.id), token: lease.token }
}

/// Answer to a settlement on a stream.
pub(super) fn settled(lease: LeaseRef, settled: Settled) -> pb::SettlementResult {
    let task_id = id_text(lease.id);
    match settled {
        Settled::Done { state: after, .. } => {
            pb::SettlementResult { task_id, lost: false, state: state(after).into() }
        }
        Settled::Lost => {
            pb::SettlementResult { task_id, lost: true, state: pb::TaskState::Unspecified.into() }
        }
    }
}

/// Which leases settlements are about.
pub(super) fn lease_refs(settlements: &[Settlement]) -> Vec<LeaseRef> {
    settlements.iter().map(|settlement| settlement.lease).collect()
}

/// An opaque cursor.
pub(super) fn cursor(cursor: Cursor) -> String {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&cursor.0.to_be_bytes());
    key[8..].copy_from_slice(&cursor.1.to_be_bytes());
    wire::page_token(&key)
}

/// Reads an opaque cursor.
pub(super) fn parse_cursor(token: &str) -> Result<Option<Cursor>, nova_types::Violation> {
    let rule = || nova_types::Violation::new("cursor", "must be a cursor from a watch");
    let Some(key) = wire::parse_page_token("cursor", token).map_err(|_| rule())? else { return Ok(None) };
    let key: [u8; 16] = key.try_into().map_err(|_| rule())?;
    let value = u128::from_be_bytes(key);
    let half = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    Ok(Some(Cursor(half(value >> 64), half(value))))
}
