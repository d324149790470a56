//! `nova queue config`: the settings of a queue.

use std::time::Duration;

use clap::Args;
use nova_client::Mesh;
use nova_proto::queue::v1::{QueueSettings, RateLimit, UpdateQueueRequest};
use nova_types::wire;
use serde_json::{Value, json};

use super::admin::{self, Name};
use crate::cli::Context;
use crate::commands::{arguments, cells};

/// Change settings of a queue; what is not given stays.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nova queue config mail --max-running 8 --rate 100/1s\n  nova queue config mail --weight gold=5"
)]
pub(crate) struct Config {
    /// Name of the queue; it is made when it is new.
    queue: String,
    /// Most tasks held at once; 0 means no limit.
    #[arg(long, value_name = "N")]
    max_running: Option<u32>,
    /// Most tasks started in a time, such as 100/1s; 0 lifts it.
    #[arg(long, value_name = "N/TIME", value_parser = rate)]
    rate: Option<Rate>,
    /// Most tasks of each group held at once; 0 means no limit.
    #[arg(long, value_name = "N")]
    group_max_running: Option<u32>,
    /// Most tasks of each group started in a time; 0 lifts it.
    #[arg(long, value_name = "N/TIME", value_parser = rate)]
    group_rate: Option<Rate>,
    /// Share of a group, 1 to 1,000, in place of all that were set; give it again for more.
    #[arg(long, value_name = "GROUP=N", value_parser = weight)]
    weight: Vec<(String, u32)>,
    /// Whether a higher priority always goes first; else waiting tasks age, and none starves.
    #[arg(long, value_name = "BOOL")]
    strict_priority: Option<bool>,
    /// Most tasks that have not ended; 0 means the daemon's own limit.
    #[arg(long, value_name = "N")]
    max_tasks: Option<u64>,
    /// How long ended tasks are kept, such as 1h.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    keep_for: Option<Duration>,
    /// Most bytes of payloads and results of ended tasks; 0 means no limit.
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<u64>,
}

/// A rate limit, or that there is none.
#[derive(Debug, Clone, Copy)]
struct Rate(Option<RateLimit>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "0" {
        return Ok(Rate(None));
    }
    let (count, period) = text.split_once('/').ok_or("must be a number and a time, such as 100/1s, or 0")?;
    let count = count.parse().map_err(|_| format!("{count:?} must be a whole number"))?;
    let period = Some(wire::to_duration(arguments::duration(period)?));
    Ok(Rate(Some(RateLimit { count, period, burst: 0 })))
}

fn weight(text: &str) -> Result<(String, u32), String> {
    let (group, share) = arguments::pair(text)?;
    let share = share.parse().map_err(|_| format!("{share:?} must be 1 to 1000"))?;
    Ok((group, share))
}

impl Config {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let (queue, settings, paths) = self.settings();
        if paths.is_empty() {
            return Name { queue }.stats(context, mesh).await;
        }
        let update_mask = Some(prost_types::FieldMask { paths });
        let request =
            UpdateQueueRequest { queue, settings: Some(settings), update_mask, ..Default::default() };
        admin::show(context, mesh.queue().update_queue(request).await?.into_inner().queue)
    }

    /// What is to be set, and the names of it.
    fn settings(self) -> (String, QueueSettings, Vec<String>) {
        let mut paths = Vec::new();
        let mut settings = QueueSettings::default();
        let weights = (!self.weight.is_empty()).then(|| self.weight.into_iter().collect());
        let keep_for = self.keep_for.map(|time| Some(wire::to_duration(time)));
        set(&mut settings.max_running, self.max_running, "max_running", &mut paths);
        set(&mut settings.rate, self.rate.map(|rate| rate.0), "rate", &mut paths);
        set(&mut settings.group_max_running, self.group_max_running, "group_max_running", &mut paths);
        set(&mut settings.group_rate, self.group_rate.map(|rate| rate.0), "group_rate", &mut paths);
        set(&mut settings.group_weights, weights, "group_weights", &mut paths);
        set(&mut settings.strict_priority, self.strict_priority, "strict_priority", &mut paths);
        set(&mut settings.max_tasks, self.max_tasks, "max_tasks", &mut paths);
        set(&mut settings.keep_for, keep_for, "keep_for", &mut paths);
        set(&mut settings.keep_bytes, self.keep_bytes, "keep_bytes", &mut paths);
        (self.queue, settings, paths)
    }
}

/// Takes a value that was given into the settings and their mask.
fn set<T>(field: &mut T, value: Option<T>, name: &str, paths: &mut Vec<String>) {
    if let Some(value) = value {
        *field = value;
        paths.push(name.to_owned());
    }
}

/// What is set, for people.
pub(crate) fn fields(settings: &QueueSettings) -> [(&'static str, String); 9] {
    let limit = |value: u64| if value == 0 { String::new() } else { value.to_string() };
    let mut weights: Vec<_> =
        settings.group_weights.iter().map(|(group, share)| format!("{group}={share}")).collect();
    weights.sort_unstable();
    [
        ("max running", limit(settings.max_running.into())),
        ("rate", per(settings.rate.as_ref())),
        ("group max running", limit(settings.group_max_running.into())),
        ("group rate", per(settings.group_rate.as_ref())),
        ("group weights", weights.join(" ")),
        ("strict priority", if settings.strict_priority { "yes".to_owned() } else { String::new() }),
        ("max tasks", limit(settings.max_tasks)),
        ("kept for", cells::duration(settings.keep_for.as_ref()).map(wire::in_units).unwrap_or_default()),
        ("kept bytes", limit(settings.keep_bytes)),
    ]
}

fn per(rate: Option<&RateLimit>) -> String {
    let Some(rate) = rate else { return String::new() };
    let period = cells::duration(rate.period.as_ref()).map(wire::in_units).unwrap_or_default();
    format!("{} each {period}", rate.count)
}

/// What is set, for programs.
pub(crate) fn record(settings: &QueueSettings) -> Value {
    json!({
        "max_running": settings.max_running,
        "rate": settings.rate.as_ref().map(limited),
        "group_max_running": settings.group_max_running,
        "group_rate": settings.group_rate.as_ref().map(limited),
        "group_weights": settings.group_weights,
        "strict_priority": settings.strict_priority,
        "max_tasks": settings.max_tasks,
        "keep_for_seconds": cells::duration(settings.keep_for.as_ref()).map(|time| time.as_secs_f64()),
        "keep_bytes": settings.keep_bytes,
    })
}

fn limited(rate: &RateLimit) -> Value {
    let period = cells::duration(rate.period.as_ref()).map(|time| time.as_secs_f64());
    json!({"count": rate.count, "period_seconds": period, "burst": rate.burst})
}
