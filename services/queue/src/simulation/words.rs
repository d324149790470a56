//! The words of histories, for what the queue takes and gives.

use std::{sync::Arc, time::Duration};

use nova_chaos::history::{Answer, Grant, Hold, Level, Limits, Outcome as Said, Snapshot, State as Seen};

use crate::{
    error::Error,
    rate::RateLimit,
    record::{Durability, Lease, LeaseRef, Outcome, QueueSettings, QueueStats, Receipt, Task},
    schedule::LABELS,
    task::{Failure, Micros, State},
};

pub(super) fn namespace() -> Arc<str> {
    "default".into()
}

/// What an answer says. Errors that certainly changed nothing are refusals.
pub(super) fn told<T>(answer: Option<Result<T, Error>>, say: impl FnOnce(T) -> Answer) -> Answer {
    match answer {
        Some(Ok(answer)) => say(answer),
        Some(Err(
            Error::IdempotencyMismatch { .. }
            | Error::Busy(_)
            | Error::TooManyTasks { .. }
            | Error::TooManyBytes { .. }
            | Error::NoParent { .. },
        )) => Answer::Refused,
        Some(Err(_)) | None => Answer::Unknown,
    }
}

pub(super) fn receipt_of(receipt: &Receipt) -> (String, bool) {
    (receipt.id.to_string(), receipt.duplicate)
}

pub(super) fn level(durability: Durability) -> Level {
    match durability {
        Durability::Memory => Level::Memory,
        Durability::Aof => Level::Aof,
        Durability::Synced => Level::Synced,
        Durability::Replicated => Level::Replicated,
    }
}

pub(super) fn grant(lease: &Lease) -> Grant {
    let task = &lease.task;
    Grant {
        lease: Hold { id: task.id.to_string(), token: lease.token },
        attempt: task.status.attempts,
        max_attempts: task.spec.retry.max_attempts,
        checkpoint: task.checkpoint.as_deref().map(text),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn hold(lease: LeaseRef) -> Hold {
    Hold { id: lease.id.to_string(), token: lease.token }
}

pub(super) fn outcome(said: &Said) -> Outcome {
    match said {
        Said::Completed(result) => Outcome::Completed(result.as_bytes().into()),
        Said::Released => Outcome::Released,
        Said::Snoozed(rest) => Outcome::Snoozed(crate::task::span(*rest)),
        Said::Failed { permanent, retry_after } => Outcome::Failed {
            error: Failure::new("BROKEN", "simulated"),
            permanent: *permanent,
            retry_after: retry_after.map(crate::task::span),
        },
    }
}

pub(super) fn snapshot(task: &Task) -> Snapshot {
    let result = task.result.as_deref().map(text);
    Snapshot {
        id: task.id.to_string(),
        key: task.spec.request_id.to_string(),
        state: seen(task.status.state),
        attempts: task.status.attempts,
        max_attempts: task.spec.retry.max_attempts,
        result,
        reason: task.status.last_error.as_ref().map_or(String::new(), |error| error.reason.clone()),
        firing: firing(task),
    }
}

/// The schedule and the tick that a task was made for.
fn firing(task: &Task) -> Option<(String, i64)> {
    let [schedule, tick] = LABELS.map(|label| task.spec.label(label));
    let tick: jiff::Timestamp = tick?.parse().unwrap();
    Some((schedule?.to_owned(), tick.as_microsecond()))
}

/// Settings with other limits.
pub(super) fn limit(settings: &mut QueueSettings, limits: &Limits) {
    (settings.max_running, settings.group_max_running) = (limits.running, limits.group_running);
    let rate = |(count, period)| RateLimit { count, period: crate::task::span(period), burst: 0 };
    settings.rate = limits.rate.map(rate);
}

pub(super) fn counted(queue: &QueueStats) -> [(Seen, u64); 6] {
    [
        (Seen::Waiting, queue.waiting),
        (Seen::Ready, queue.ready),
        (Seen::Leased, queue.leased),
        (Seen::Completed, queue.completed),
        (Seen::Dead, queue.dead),
        (Seen::Cancelled, queue.cancelled),
    ]
}

pub(super) fn seen(state: State) -> Seen {
    match state {
        State::Waiting => Seen::Waiting,
        State::Ready => Seen::Ready,
        State::Leased => Seen::Leased,
        State::Completed => Seen::Completed,
        State::Dead => Seen::Dead,
        State::Cancelled => Seen::Cancelled,
    }
}

pub(super) fn micros(span: Duration) -> Micros {
    i64::try_from(span.as_micros()).unwrap()
}
