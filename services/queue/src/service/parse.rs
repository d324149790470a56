//! From the wire to the domain: every rule that the contract states, checked with the path of its field.

use std::{sync::Arc, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_types::{Namespace, QueueName, RequestId, TaskId, TaskKind, Violation, Violations, wire};
use uuid::Uuid;

use crate::{
    core::body_hash,
    mark::Mark,
    record::{LeaseRef, NewTask, Outcome, Report, Settlement, Spec},
    service::terms,
    task::{Failure, Retry},
    trail::Progress,
};

type Checked<T> = Result<T, Violation>;

const DAY: Duration = Duration::from_secs(86_400);
/// Longest delay.
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);
const PAYLOAD_BYTES: usize = 1 << 20;
const REQUEST_BYTES: usize = 4 << 20;
const MESSAGE_BYTES: usize = 4 << 10;
const CHECKPOINT_BYTES: usize = 64 << 10;
const GROUP_BYTES: usize = 128;

/// The namespace of a request.
pub(super) fn namespace(value: &str) -> Checked<Arc<str>> {
    Namespace::parse("namespace", value).map(|name| Arc::from(name.as_ref()))
}

/// 1 to 64 names of queues.
pub(super) fn queues(field: &str, names: &[String]) -> Checked<Vec<Arc<str>>> {
    count(field, names.len(), 64)?;
    let queue = |(index, name): (usize, &String)| {
        let queue = QueueName::parse("", name).map_err(|violation| violation.at(field, index))?;
        Ok(Arc::from(queue.as_ref()))
    };
    names.iter().enumerate().map(queue).collect()
}

/// The name of a worker instance.
pub(super) fn worker(field: &str, name: &str) -> Checked<Arc<str>> {
    wire::text(field, name, 1..=128)?;
    Ok(Arc::from(name))
}

/// How long a lease lasts.
pub(super) fn lease_duration(field: &str, value: Option<&prost_types::Duration>) -> Checked<Duration> {
    wire::duration(field, value, Duration::from_secs(1)..=Duration::from_secs(3_600), Duration::from_secs(30))
}

/// Between 1 and `most` things.
pub(super) fn count(field: &str, count: usize, most: usize) -> Checked<()> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Violation::new(field, format!("{count} entries must be 1 to {most}")))
}

/// The tasks of an enqueue request, with the trace context of their producer.
pub(super) fn tasks(request: pb::EnqueueRequest, traceparent: &str) -> Result<Vec<NewTask>, Violations> {
    let mut violations = Violations::new();
    let namespace = violations.take(namespace(&request.namespace));
    violations.take(count("tasks", request.tasks.len(), 1_000));
    let bytes: usize = request.tasks.iter().map(|task| task.payload.len()).sum();
    if bytes > REQUEST_BYTES {
        let rule = format!("{bytes} bytes of payload must be at most {REQUEST_BYTES}");
        violations.push(Violation::new("tasks", rule));
    }
    let namespace = namespace.unwrap_or_else(|| Arc::from(""));
    let mut tasks = Vec::with_capacity(request.tasks.len());
    for (index, wire) in request.tasks.into_iter().enumerate() {
        match task(wire, index, &namespace, traceparent) {
            Ok(task) => tasks.push(task),
            Err(nested) => violations.extend_within(&format!("tasks[{index}]"), nested),
        }
    }
    violations.finish()?;
    Ok(tasks)
}

/// The task at `index` of its request, with the trace context of its producer.
pub(super) fn task(
    wire: pb::NewTask,
    index: usize,
    namespace: &Arc<str>,
    traceparent: &str,
) -> Result<NewTask, Violations> {
    let mut violations = Violations::new();
    let queue = violations.take(QueueName::parse("queue", &wire.queue));
    let kind = violations.take(TaskKind::parse("kind", &wire.kind));
    violations.take(wire::bytes("payload", &wire.payload, PAYLOAD_BYTES));
    violations.take(wire::labels("metadata", &wire.metadata));
    violations.take(RequestId::parse("request_id", &wire.request_id));
    violations.take(group("group", &wire.group));
    let priority = violations.take(priority(wire.priority));
    let delay = wire::duration("delay", wire.delay.as_ref(), Duration::ZERO..=YEAR, Duration::ZERO);
    let delay = violations.take(delay).unwrap_or_default();
    let timeout = Duration::from_millis(1)..=YEAR;
    let timeout = wire::duration("attempt_timeout", wire.attempt_timeout.as_ref(), timeout, Duration::ZERO);
    let timeout = violations.take(timeout).unwrap_or_default();
    let retry = retry(wire.retry.as_ref(), &mut violations);
    let terms = terms::terms(&wire, index, &mut violations);
    if let Some(deadline) = terms.as_ref().and_then(|terms| terms.deadline) {
        let rule = format!("{deadline:?} must be longer than the delay, {delay:?}");
        violations.require(deadline > delay, "deadline", &rule);
    }
    violations.finish()?;
    let spec = Spec {
        namespace: Arc::clone(namespace),
        queue: Arc::from(queue.as_ref().map_or("", AsRef::as_ref)),
        kind: Arc::from(kind.as_ref().map_or("", AsRef::as_ref)),
        metadata: labels(wire.metadata),
        request_id: wire.request_id.into(),
        body_hash: 0,
        priority: priority.unwrap_or_default(),
        retry,
        attempt_timeout: (!timeout.is_zero()).then_some(timeout),
        traceparent: traceparent.into(),
        group: Arc::from(wire.group),
        terms,
    };
    // Copied: kept as it came, the payload would hold its whole frame.
    let payload = Arc::from(&wire.payload[..]);
    let mut task = NewTask { spec, payload, delay, after_index: wire.after_index };
    if !task.spec.request_id.is_empty() {
        task.spec.body_hash = body_hash(&task);
    }
    Ok(task)
}

fn priority(priority: u32) -> Checked<u8> {
    match u8::try_from(priority) {
        Ok(priority @ 0..=9) => Ok(priority),
        _ => Err(Violation::new("priority", format!("{priority} must be at most 9"))),
    }
}

/// The name of a group.
pub(super) fn group(field: &str, name: &str) -> Checked<()> {
    wire::text(field, name, 0..=GROUP_BYTES)
}

/// Labels, sorted by key.
pub(super) fn labels(metadata: std::collections::HashMap<String, String>) -> Vec<(Box<str>, Box<str>)> {
    let mut labels: Vec<(Box<str>, Box<str>)> =
        metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    labels.sort_unstable();
    labels
}

fn retry(wire: Option<&pb::RetryPolicy>, violations: &mut Violations) -> Retry {
    let usual = Retry::default();
    let Some(wire) = wire else { return usual };
    let rule = format!("{} must be at most 100", wire.max_attempts);
    violations.require(wire.max_attempts <= 100, "retry.max_attempts", &rule);
    let factor_holds = wire.factor == 0.0 || (1.0..=10.0).contains(&wire.factor);
    violations.require(factor_holds, "retry.factor", &format!("{} must be 1 to 10", wire.factor));
    let range = Duration::ZERO..=YEAR;
    let (field, value) = ("retry.initial_backoff", wire.initial_backoff.as_ref());
    let initial = violations.take(wire::duration(field, value, range.clone(), usual.initial));
    let (field, value) = ("retry.max_backoff", wire.max_backoff.as_ref());
    let least = initial.unwrap_or_default();
    let max = violations.take(wire::duration(field, value, range, usual.max.max(least)));
    if let Some(max) = max {
        let rule = format!("{max:?} must be at least the initial backoff, {least:?}");
        violations.require(max >= least, field, &rule);
    }
    Retry {
        max_attempts: if wire.max_attempts == 0 { usual.max_attempts } else { wire.max_attempts },
        initial: initial.unwrap_or_default(),
        factor: if wire.factor == 0.0 { usual.factor } else { wire.factor },
        max: max.unwrap_or_default(),
    }
}

/// The name of a queue.
pub(super) fn queue(name: &str) -> Checked<Arc<str>> {
    QueueName::parse("queue", name).map(|queue| Arc::from(queue.as_ref()))
}

/// Up to 1,000 ids of tasks.
pub(super) fn task_ids(ids: &[String]) -> Checked<Vec<Uuid>> {
    if ids.len() > 1_000 {
        return Err(Violation::new("task_ids", format!("{} entries must be at most 1000", ids.len())));
    }
    let one =
        |(index, id): (usize, &String)| task_id("", id).map_err(|violation| violation.at("task_ids", index));
    ids.iter().enumerate().map(one).collect()
}

/// The id of a task.
pub(super) fn task_id(field: &str, value: &str) -> Checked<Uuid> {
    TaskId::parse(field, value).map(|id| Uuid::from_bytes(*id.as_bytes()))
}

/// A lease that a request is about, as the caller with this mark names it.
pub(super) fn lease(field: &'static str, wire: Option<&pb::LeaseRef>, mark: Mark) -> Checked<LeaseRef> {
    let wire = wire.ok_or_else(|| Violation::new(field, "must be set"))?;
    lease_ref(wire, mark).map_err(|violation| violation.within(field))
}

fn lease_ref(wire: &pb::LeaseRef, mark: Mark) -> Checked<LeaseRef> {
    Ok(LeaseRef { id: task_id("task_id", &wire.task_id)?, token: wire.token, mark })
}

/// The leases of a request, each checked.
pub(super) fn leases(leases: &[pb::LeaseRef], mark: Mark) -> Checked<Vec<LeaseRef>> {
    let one = |(index, wire)| lease_ref(wire, mark).map_err(|violation| violation.at("leases", index));
    leases.iter().enumerate().map(one).collect()
}

/// Leases to extend and reports on leases, together 1 to 1,000.
pub(super) fn heartbeat(
    extended: &[pb::LeaseRef],
    reports: Vec<pb::LeaseReport>,
    mark: Mark,
) -> Checked<(Vec<LeaseRef>, Vec<Report>)> {
    count("leases", extended.len() + reports.len(), 1_000)?;
    let one = |(index, wire)| report(wire, mark).map_err(|violation| violation.at("reports", index));
    Ok((leases(extended, mark)?, reports.into_iter().enumerate().map(one).collect::<Checked<_>>()?))
}

fn report(wire: pb::LeaseReport, mark: Mark) -> Checked<Report> {
    let lease = lease("lease", wire.lease.as_ref(), mark)?;
    let progress = wire.progress.map(|wire| progress("progress", &wire)).transpose()?;
    if let Some(checkpoint) = &wire.checkpoint {
        wire::bytes("checkpoint", checkpoint, CHECKPOINT_BYTES)?;
    }
    // Copied: kept as it came, it would hold its whole frame.
    let checkpoint = wire.checkpoint.map(|bytes| Arc::from(&bytes[..]));
    Ok(Report { lease, progress, checkpoint })
}

fn progress(field: &str, wire: &pb::Progress) -> Checked<Progress> {
    wire::text(&format!("{field}.note"), &wire.note, 0..=256)?;
    if !(0.0..=1.0).contains(&wire.fraction) {
        return Err(Violation::new(format!("{field}.fraction"), format!("{} must be 0 to 1", wire.fraction)));
    }
    Ok(Progress::new(wire.fraction, &wire.note))
}

/// The result of a completed task.
pub(super) fn completed(field: &str, result: &[u8]) -> Checked<Outcome> {
    wire::bytes(field, result, PAYLOAD_BYTES)?;
    Ok(Outcome::Completed(Arc::from(result)))
}

/// A failed attempt; a long message is cut.
pub(super) fn failed(failure: pb::Failure) -> Checked<Outcome> {
    let error = failure.error.unwrap_or_default();
    wire::text("error.reason", &error.reason, 1..=64)?;
    let after = failure.retry_after.as_ref();
    let retry_after = wire::duration("retry_after", after, Duration::ZERO..=30 * DAY, Duration::ZERO)?;
    let traceparent = traceparent("traceparent", failure.traceparent)?;
    let error = Failure { traceparent, ..Failure::new(error.reason, cut(error.message)) };
    let retry_after = after.map(|_| retry_after);
    Ok(Outcome::Failed { error, permanent: failure.permanent, retry_after })
}

fn traceparent(field: &str, text: String) -> Checked<Box<str>> {
    let is_one = text.is_empty() || nova_rpc::trace::span_context(&text).is_some();
    if is_one { Ok(text.into()) } else { Err(Violation::new(field, "must be a W3C trace context, or empty")) }
}

/// A lease that was never started; with a delay it is a snooze.
pub(super) fn released(field: &str, delay: Option<&prost_types::Duration>) -> Checked<Outcome> {
    let delay = wire::duration(field, delay, Duration::ZERO..=YEAR, Duration::ZERO)?;
    Ok(if delay.is_zero() { Outcome::Released } else { Outcome::Snoozed(delay) })
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
    }
    message
}

/// The settlements of a `WorkSettle`.
pub(super) fn settlements(settle: pb::WorkSettle, mark: Mark) -> Checked<Vec<Settlement>> {
    count("settlements", settle.settlements.len(), 1_000)?;
    let one = |(index, wire)| settlement(wire, mark).map_err(|violation| violation.at("settlements", index));
    settle.settlements.into_iter().enumerate().map(one).collect()
}

fn settlement(wire: pb::Settlement, mark: Mark) -> Checked<Settlement> {
    let lease = lease("lease", wire.lease.as_ref(), mark)?;
    let outcome = match wire.outcome {
        Some(pb::settlement::Outcome::Completed(result)) => completed("completed", &result)?,
        Some(pb::settlement::Outcome::Failed(failure)) => {
            failed(failure).map_err(|violation| violation.within("failed"))?
        }
        Some(pb::settlement::Outcome::Released(pb::Released { delay })) => {
            released("released.delay", delay.as_ref())?
        }
        None => return Err(Violation::new("outcome", "must be set")),
    };
    Ok(Settlement { lease, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ä".repeat(MESSAGE_BYTES);
        let cut = cut(long);
        assert!(cut.len() <= MESSAGE_BYTES);
        assert!(cut.ends_with('ä'));
    }
}
