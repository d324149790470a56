//! The counts of queues, and how they perform, as they are shown.

use nova_proto::queue::v1::{DurationSummary, Queue, QueueIntake, QueuePerformance, QueueStats};
use prost_types::Duration as WireDuration;
use serde_json::{Value, json};

use super::scope::Scope;
use super::settings;
use crate::commands::{cells, output};

/// Shows a queue: what it lets through, its counts, how it performs.
pub(crate) fn show(scope: &Scope<'_>, queue: Queue) -> anyhow::Result<()> {
    let settings = queue.settings.clone().unwrap_or_default();
    let (state, stats) = (state(queue.intake()), queue.stats.unwrap_or_default());
    let performance = queue.performance.unwrap_or_default();
    let mut record = counted(&stats);
    record["namespace"] = json!(queue.namespace);
    record["state"] = json!(state);
    record["settings"] = settings::record(&settings);
    record["performance"] = performed(&performance);
    let mut fields = vec![("queue", queue.name), ("namespace", queue.namespace), ("state", state)];
    fields.push(("limits", settings::limits(&settings, stats.leased)));
    fields.extend(counts(&stats).map(|(name, count)| (name, count.to_string())));
    fields.push(("oldest ready", oldest(&stats)));
    fields.extend(performance_fields(&performance));
    output::fields(scope.context, &fields, &record)
}

/// Name of what a queue lets through.
fn state(intake: QueueIntake) -> String {
    cells::name(intake.as_str_name(), "QUEUE_INTAKE_")
}

/// Its tasks by state; those that ended for as long as they are kept.
fn counts(stats: &QueueStats) -> [(&'static str, u64); 6] {
    [
        ("waiting", stats.waiting),
        ("ready", stats.ready),
        ("leased", stats.leased),
        ("completed", stats.completed),
        ("dead", stats.dead),
        ("cancelled", stats.cancelled),
    ]
}

fn oldest(stats: &QueueStats) -> String {
    cells::duration(stats.oldest_ready_age.as_ref()).map(cells::exact).unwrap_or_default()
}

/// A row of `nova queue ls`.
pub(crate) fn row(stats: &QueueStats) -> [String; 9] {
    let [waiting, ready, leased, completed, dead, cancelled] =
        counts(stats).map(|(_, count)| count.to_string());
    let (name, state) = (stats.queue.clone(), state(stats.intake()));
    [name, state, waiting, ready, leased, completed, dead, cancelled, oldest(stats)]
}

/// Counts as programs see them.
pub(crate) fn counted(stats: &QueueStats) -> Value {
    let age = cells::duration(stats.oldest_ready_age.as_ref());
    let mut record = json!({
        "queue": stats.queue,
        "state": state(stats.intake()),
        "oldest_ready_age_seconds": age.map(|age| age.as_secs_f64()),
    });
    for (name, count) in counts(stats) {
        record[name] = json!(count);
    }
    record
}

/// What happened since the daemon leads.
fn happened(performance: &QueuePerformance) -> [(&'static str, u64); 7] {
    [
        ("enqueued", performance.enqueued),
        ("started", performance.started),
        ("completed", performance.completed),
        ("failed", performance.failed),
        ("expired", performance.expired),
        ("dead", performance.dead),
        ("cancelled", performance.cancelled),
    ]
}

/// How it performs, for people. What it counts since then stands below, so that a count is not taken for one of tasks
/// that are there.
fn performance_fields(performance: &QueuePerformance) -> [(&'static str, String); 4] {
    let counts = happened(performance).map(|(name, count)| format!("{count} {name}"));
    [
        ("wait", performance.wait.as_ref().map(lasted).unwrap_or_default()),
        ("run", performance.run.as_ref().map(lasted).unwrap_or_default()),
        ("since", cells::moment(performance.since.as_ref())),
        ("", counts.join("\n")),
    ]
}

/// How long something takes.
fn lasted(summary: &DurationSummary) -> String {
    let time = |wire: &Option<WireDuration>| cells::duration(wire.as_ref()).map(cells::exact);
    let [p50, p95, p99] = [&summary.p50, &summary.p95, &summary.p99].map(|of| time(of).unwrap_or_default());
    format!("{p50} at p50, {p95} at p95, {p99} at p99")
}

/// How it performs, as programs see it.
fn performed(performance: &QueuePerformance) -> Value {
    let mut record = json!({
        "since": cells::rfc3339(performance.since.as_ref()),
        "wait_seconds": performance.wait.as_ref().map(seconds),
        "run_seconds": performance.run.as_ref().map(seconds),
    });
    for (name, count) in happened(performance) {
        record[name] = json!(count);
    }
    record
}

fn seconds(summary: &DurationSummary) -> Value {
    let time = |wire: &Option<WireDuration>| cells::duration(wire.as_ref()).map(|time| time.as_secs_f64());
    json!({"p50": time(&summary.p50), "p95": time(&summary.p95), "p99": time(&summary.p99)})
}
