//! What a task is to be: the arguments that `enqueue` and `schedules put` share, and how a schedule's are shown.

use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nova_proto::queue::v1::{NewTask, RetryPolicy};
use nova_types::wire;
use serde_json::{Value, json};

use crate::commands::{arguments, cells};

/// A task that is to be made, now or at each tick.
#[derive(Debug, Args)]
pub(crate) struct Template {
    /// Queue of the task; it is made when it is first used.
    queue: String,
    /// What kind of work it is; workers have a handler for each kind.
    kind: String,
    /// What the handler is given: text, @FILE, or @- for standard input.
    #[arg(long, value_name = "TEXT|@FILE", default_value = "", hide_default_value = true)]
    payload: String,
    /// Label of the task; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    metadata: Vec<(String, String)>,
    /// 0 (lowest) to 9.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=9))]
    priority: u32,
    /// Whom it is for, such as a tenant: groups of a queue share it by weight.
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    group: String,
    /// The task is dead unless it completes within this time, attempts and waits included, such as 1h.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration, allow_hyphen_values = true)]
    deadline: Option<Duration>,
    /// While a task with this key lives in the queue, another is not stored.
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    unique_key: Option<String>,
    /// The key is free again after this time, even while its task lives.
    #[arg(long, value_name = "TIME", requires = "unique_key", value_parser = arguments::duration)]
    unique_for: Option<Duration>,
    /// Longest time of one attempt, whatever its heartbeats, such as 10m.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    attempt_timeout: Option<Duration>,
    /// Attempts in all, 1 to 100 [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: Option<u32>,
    /// Wait after the first failed attempt; it grows with each [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    backoff: Option<Duration>,
    /// By how much it grows, 1 to 10 [default: 2].
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    backoff_factor: Option<f64>,
    /// Longest wait between two attempts [default: 10m].
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    backoff_max: Option<Duration>,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (1.0..=10.0).contains(factor));
    factor.ok_or_else(|| "must be a number from 1 to 10".to_owned())
}

impl Template {
    /// The task on the wire.
    pub(crate) fn task(self) -> anyhow::Result<NewTask> {
        let retry = self.retry();
        Ok(NewTask {
            payload: arguments::content(&self.payload)?.into(),
            metadata: arguments::labels(self.metadata)?,
            queue: self.queue,
            kind: self.kind,
            priority: self.priority,
            group: self.group,
            deadline: self.deadline.map(wire::to_duration),
            unique_key: self.unique_key.unwrap_or_default(),
            unique_for: self.unique_for.map(wire::to_duration),
            attempt_timeout: self.attempt_timeout.map(wire::to_duration),
            retry,
            ..Default::default()
        })
    }

    /// What is said of retries; none when nothing is.
    fn retry(&self) -> Option<RetryPolicy> {
        let policy = RetryPolicy {
            max_attempts: self.max_attempts.unwrap_or_default(),
            initial_backoff: self.backoff.map(wire::to_duration),
            factor: self.backoff_factor.unwrap_or_default(),
            max_backoff: self.backoff_max.map(wire::to_duration),
        };
        (policy != RetryPolicy::default()).then_some(policy)
    }
}

/// What a template says, for people.
pub(crate) fn fields(task: &NewTask) -> [(&'static str, String); 11] {
    let time = |wire: &Option<_>| cells::duration(wire.as_ref()).map(wire::in_units).unwrap_or_default();
    [
        ("queue", task.queue.clone()),
        ("kind", task.kind.clone()),
        ("payload", cells::readable(&task.payload)),
        ("metadata", cells::labels(&task.metadata)),
        ("priority", task.priority.to_string()),
        ("group", task.group.clone()),
        ("deadline", time(&task.deadline)),
        ("unique key", task.unique_key.clone()),
        ("unique for", time(&task.unique_for)),
        ("attempt timeout", time(&task.attempt_timeout)),
        ("attempts", tries(&task.retry.unwrap_or_default())),
    ]
}

/// How attempts are repeated, with the contract's defaults where nothing was said: `3, after 1s, ×2, at most 10m`.
pub(crate) fn tries(policy: &RetryPolicy) -> String {
    let time = |wire: &Option<_>, usual| cells::duration(wire.as_ref()).map_or(usual, wire::in_units);
    let attempts = if policy.max_attempts == 0 { 3 } else { policy.max_attempts };
    if attempts == 1 {
        return "1, and no other".to_owned();
    }
    let factor = if policy.factor == 0.0 { 2.0 } else { policy.factor };
    let initial = time(&policy.initial_backoff, "1s".to_owned());
    let max = time(&policy.max_backoff, "10m".to_owned());
    format!("{attempts}, the next one after {initial}, then {factor} times as long, at most {max}")
}

/// The same for programs.
pub(crate) fn record(task: &NewTask) -> Value {
    json!({
        "queue": task.queue,
        "kind": task.kind,
        "payload": cells::content(&task.payload),
        "metadata": task.metadata,
        "priority": task.priority,
        "group": task.group,
        "deadline_seconds": seconds(&task.deadline),
        "unique_key": task.unique_key,
        "unique_for_seconds": seconds(&task.unique_for),
        "attempt_timeout_seconds": seconds(&task.attempt_timeout),
        "retry": task.retry.as_ref().map(retry_record),
    })
}

/// How attempts are repeated, for programs.
pub(crate) fn retry_record(retry: &RetryPolicy) -> Value {
    json!({
        "max_attempts": retry.max_attempts,
        "initial_backoff_seconds": seconds(&retry.initial_backoff),
        "factor": retry.factor,
        "max_backoff_seconds": seconds(&retry.max_backoff),
    })
}

/// A duration in seconds.
pub(crate) fn seconds(wire: &Option<prost_types::Duration>) -> Option<f64> {
    cells::duration(wire.as_ref()).map(|time| time.as_secs_f64())
}
