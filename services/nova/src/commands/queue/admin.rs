//! `nova queue stats`, `pause`, `drain` and `resume`: a queue as a whole.

use clap::Args;
use nova_client::Mesh;
use nova_proto::queue::v1::{
    DrainQueueRequest, DurationSummary, GetQueueRequest, PauseQueueRequest, Queue, QueuePerformance,
    QueueStats, ResumeQueueRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use super::config;
use crate::cli::Context;
use crate::commands::{cells, output};
use crate::failure::NotFound;

/// The name of a queue.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the queue.
    pub(crate) queue: String,
}

impl Name {
    /// Shows counts, settings, and what it lets through.
    pub(crate) async fn stats(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let request = GetQueueRequest { queue: self.queue, ..Default::default() };
        show(context, mesh.queue().get_queue(request).await?.into_inner().queue)
    }

    /// Fails where there is no such queue: the daemon makes one, which a name that is mistyped must not.
    async fn must_exist(&self, mesh: &Mesh) -> anyhow::Result<()> {
        let request = GetQueueRequest { queue: self.queue.clone(), ..Default::default() };
        match mesh.queue().get_queue(request).await {
            Err(status) if status.code() == Code::NotFound => Err(NotFound(self.unknown()).into()),
            answer => Ok(answer.map(drop)?),
        }
    }

    fn unknown(&self) -> String {
        format!(
            "there is no queue {:?}; `nova queue config {} …` makes one ahead of its tasks",
            self.queue, self.queue
        )
    }

    /// Lets no more task start.
    pub(crate) async fn pause(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        self.must_exist(mesh).await?;
        let request = PauseQueueRequest { queue: self.queue, ..Default::default() };
        show(context, mesh.queue().pause_queue(request).await?.into_inner().queue)
    }

    /// Takes no more tasks in.
    pub(crate) async fn drain(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        self.must_exist(mesh).await?;
        let request = DrainQueueRequest { queue: self.queue, ..Default::default() };
        show(context, mesh.queue().drain_queue(request).await?.into_inner().queue)
    }

    /// Ends a pause and a drain.
    pub(crate) async fn resume(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        self.must_exist(mesh).await?;
        let request = ResumeQueueRequest { queue: self.queue, ..Default::default() };
        show(context, mesh.queue().resume_queue(request).await?.into_inner().queue)
    }
}

/// Shows a queue.
pub(crate) fn show(context: &Context, queue: Option<Queue>) -> anyhow::Result<()> {
    let queue = queue.unwrap_or_default();
    let intake = intake(queue.intake());
    let (stats, settings) = (queue.stats.unwrap_or_default(), queue.settings.unwrap_or_default());
    let age = cells::duration(stats.oldest_ready_age.as_ref());
    let mut fields = vec![("queue", queue.name.clone()), ("intake", intake.clone())];
    fields.extend(counts(&stats).map(|(name, count)| (name, count.to_string())));
    fields.push(("oldest ready", age.map(cells::exact).unwrap_or_default()));
    fields.extend(config::fields(&settings));
    let performance = queue.performance.unwrap_or_default();
    fields.extend(lasted("wait", performance.wait.as_ref()));
    fields.extend(lasted("run", performance.run.as_ref()));
    let mut record = record(&stats);
    record["intake"] = json!(intake);
    record["settings"] = config::record(&settings);
    record["performance"] = performed(&performance);
    output::fields(context, &fields, &record)
}

/// How long something takes, if it is known.
fn lasted(what: &'static str, summary: Option<&DurationSummary>) -> Option<(&'static str, String)> {
    let time = |wire: &Option<prost_types::Duration>| cells::duration(wire.as_ref()).map(cells::exact);
    let summary = summary?;
    let (p50, p99) = (time(&summary.p50)?, time(&summary.p99)?);
    Some((what, format!("{p50} at the median, {p99} at p99")))
}

/// What happened since the daemon leads, as programs see it.
fn performed(performance: &QueuePerformance) -> Value {
    let seconds =
        |wire: &Option<prost_types::Duration>| cells::duration(wire.as_ref()).map(|time| time.as_secs_f64());
    let summary = |of: &Option<DurationSummary>| {
        of.as_ref()
            .map(|of| json!({"p50": seconds(&of.p50), "p95": seconds(&of.p95), "p99": seconds(&of.p99)}))
    };
    json!({
        "since": cells::rfc3339(performance.since.as_ref()),
        "enqueued": performance.enqueued,
        "started": performance.started,
        "completed": performance.completed,
        "failed": performance.failed,
        "expired": performance.expired,
        "dead": performance.dead,
        "cancelled": performance.cancelled,
        "wait_seconds": summary(&performance.wait),
        "run_seconds": summary(&performance.run),
    })
}

/// Name of what a queue lets through.
fn intake(intake: nova_proto::queue::v1::QueueIntake) -> String {
    cells::name(intake.as_str_name(), "QUEUE_INTAKE_")
}

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

/// A row of `nova queue ls`.
pub(crate) fn row(stats: &QueueStats) -> [String; 9] {
    let [waiting, ready, leased, completed, dead, cancelled] =
        counts(stats).map(|(_, count)| count.to_string());
    let oldest = cells::duration(stats.oldest_ready_age.as_ref()).map(cells::exact).unwrap_or_default();
    [stats.queue.clone(), intake(stats.intake()), waiting, ready, leased, completed, dead, cancelled, oldest]
}

/// Counts as programs see them.
pub(crate) fn record(stats: &QueueStats) -> Value {
    let age = cells::duration(stats.oldest_ready_age.as_ref());
    let mut record = json!({
        "queue": stats.queue,
        "intake": intake(stats.intake()),
        "oldest_ready_age_seconds": age.map(|age| age.as_secs_f64()),
    });
    for (name, count) in counts(stats) {
        record[name] = json!(count);
    }
    record
}
