//! The words of the contract, as histories have them.

use nova_chaos::history::{Answer, Grant, Hold, Job, Level, Limits, Outcome, Snapshot, State};
use nova_proto::queue::v1 as pb;
use tonic::{Code, Status};

pub(crate) fn task(job: &Job) -> pb::NewTask {
    pb::NewTask {
        queue: job.queue.clone(),
        kind: "k".into(),
        payload: vec![7; 256].into(),
        request_id: job.key.clone(),
        priority: job.priority.into(),
        delay: Some(span(job.delay)),
        retry: Some(pb::RetryPolicy {
            max_attempts: job.max_attempts,
            initial_backoff: Some(span(50_000)),
            ..Default::default()
        }),
        group: job.group.clone(),
        unique_key: job.unique.clone(),
        after: job.parents.clone(),
        run_after_failure: job.after_failure && !job.parents.is_empty(),
        deadline: job.deadline.map(span),
        ..Default::default()
    }
}

pub(crate) fn settings(limits: &Limits) -> pb::QueueSettings {
    let rate = |(count, period)| pb::RateLimit { count, period: Some(span(period)), burst: 0 };
    pb::QueueSettings {
        max_running: limits.running.unwrap_or_default(),
        group_max_running: limits.group_running.unwrap_or_default(),
        rate: limits.rate.map(rate),
        ..Default::default()
    }
}

pub(crate) fn span(micros: i64) -> prost_types::Duration {
    let nanos = i32::try_from(micros % 1_000_000 * 1_000).unwrap();
    prost_types::Duration { seconds: micros / 1_000_000, nanos }
}

pub(crate) fn refer(lease: &Hold) -> pb::LeaseRef {
    pb::LeaseRef { task_id: lease.id.clone(), token: lease.token }
}

pub(crate) fn stored(answer: pb::EnqueueResponse) -> Answer {
    let level = match answer.durability() {
        pb::Durability::Synced => Level::Synced,
        pb::Durability::Replicated => Level::Replicated,
        pb::Durability::Aof => Level::Aof,
        pb::Durability::Memory | pb::Durability::Unspecified => Level::Memory,
    };
    Answer::Stored(answer.tasks.into_iter().map(|task| (task.id, task.duplicate)).collect(), level)
}

pub(crate) fn grant(lease: pb::Lease) -> Grant {
    let (token, attempt) = (lease.token, lease.attempt);
    let task = lease.task.unwrap();
    let checkpoint = (!task.checkpoint.is_empty()).then(|| text(&task.checkpoint));
    Grant { lease: Hold { id: task.id, token }, attempt, max_attempts: task.max_attempts, checkpoint }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn micros(span: prost_types::Duration) -> i64 {
    span.seconds * 1_000_000 + i64::from(span.nanos) / 1_000
}

/// The schedule and the tick that a task was made for.
fn firing(task: &pb::Task) -> Option<(String, i64)> {
    let [schedule, tick] = ["schedule", "tick"].map(|label| task.metadata.get(label));
    let tick: prost_types::Timestamp = tick?.parse().unwrap();
    Some((schedule?.clone(), tick.seconds))
}

pub(crate) fn state(state: pb::TaskState) -> State {
    match state {
        pb::TaskState::Waiting => State::Waiting,
        pb::TaskState::Ready => State::Ready,
        pb::TaskState::Leased => State::Leased,
        pb::TaskState::Completed => State::Completed,
        pb::TaskState::Dead => State::Dead,
        pb::TaskState::Cancelled => State::Cancelled,
        pb::TaskState::Unspecified => panic!("a task has a state"),
    }
}

pub(crate) fn snapshot(task: pb::Task) -> Snapshot {
    let (seen, result, firing) = (state(task.state()), text(&task.result), firing(&task));
    Snapshot {
        id: task.id,
        key: task.request_id,
        state: seen,
        attempts: task.attempts,
        max_attempts: task.max_attempts,
        result: (seen == State::Completed).then_some(result),
        reason: task.last_error.map_or(String::new(), |error| error.reason),
        firing,
    }
}

pub(crate) fn fails(lease: &Hold, outcome: &Outcome) -> pb::FailRequest {
    let pb::Failure { error, permanent, retry_after, .. } = failure(outcome);
    pb::FailRequest { lease: Some(refer(lease)), error, permanent, retry_after, ..Default::default() }
}

pub(crate) fn failure(outcome: &Outcome) -> pb::Failure {
    let error = pb::TaskError { reason: "BROKEN".into(), message: "chaos".into() };
    let (permanent, retry_after) = match outcome {
        Outcome::Failed { permanent, retry_after } => (*permanent, retry_after.map(span)),
        Outcome::Completed(_) | Outcome::Released | Outcome::Snoozed(_) => (false, None),
    };
    pb::Failure { error: Some(error), permanent, retry_after, ..Default::default() }
}

/// What a refusal says: only some codes say that nothing was done.
pub(crate) fn refusal(status: &Status) -> Answer {
    match status.code() {
        Code::FailedPrecondition => Answer::Lost,
        Code::NotFound => Answer::Seen(None),
        Code::InvalidArgument | Code::Aborted | Code::ResourceExhausted => Answer::Refused,
        _ => Answer::Unknown,
    }
}
