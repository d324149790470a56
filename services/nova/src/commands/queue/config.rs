//! `nova queue config`: what operators say of a queue.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use nova_proto::queue::v1::{QueueSettings, RateLimit, UpdateQueueRequest};
use nova_types::wire;

use super::limits::{self, Limit, Weight};
use super::scope::Scope;
use super::{admin, settings};

/// Most that may start at once.
const BURST: RangeInclusive<i64> = 1..=1_000_000;

/// Show the settings of a queue, or change them; what is not given stays.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nova queue config mail
  nova queue config mail --max-running 8 --rate 100/1s --burst 200
  nova queue config mail --weight gold=5 --weight silver=2
  nova queue config mail --max-running none --rate none --weight default")]
pub(crate) struct Config {
    /// Name of the queue; a setting makes it when it is new.
    queue: String,
    /// Most tasks held at once, or none for no limit.
    #[arg(long, value_name = "N", value_parser = limits::number::<u32>("none"))]
    max_running: Option<Limit<u32>>,
    /// Most tasks started in a time, such as 100/1s, or none for no limit.
    #[arg(long, value_name = "N/TIME", value_parser = limits::rate)]
    rate: Option<Limit<RateLimit>>,
    /// Most tasks that start at once after a rest; goes with --rate [default: its N].
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u32).range(BURST))]
    burst: Option<u32>,
    /// Most tasks of each group held at once, or none for no limit.
    #[arg(long, value_name = "N", value_parser = limits::number::<u32>("none"))]
    group_max_running: Option<Limit<u32>>,
    /// Most tasks of each group started in a time, or none for no limit.
    #[arg(long, value_name = "N/TIME", value_parser = limits::rate)]
    group_rate: Option<Limit<RateLimit>>,
    /// The same for each group; goes with --group-rate [default: its N].
    #[arg(long, value_name = "N", requires = "group_rate", value_parser = clap::value_parser!(u32).range(BURST))]
    group_burst: Option<u32>,
    /// Share of a group, 1 to 1,000, in place of all that were set, or default for 1 each; give it again for more.
    #[arg(long, value_name = "GROUP=N", value_parser = limits::weight)]
    weight: Vec<Weight>,
    /// Whether a higher priority always goes first; when false, waiting tasks age, and none starves.
    #[arg(long, value_name = "BOOL")]
    strict_priority: Option<bool>,
    /// Most tasks that have not ended, or default for the daemon's own limit.
    #[arg(long, value_name = "N", value_parser = limits::number::<u64>("default"))]
    max_tasks: Option<Limit<u64>>,
    /// How long ended tasks are kept, such as 7d, or default for the daemon's own limit.
    #[arg(long, value_name = "TIME", value_parser = limits::time)]
    keep_for: Option<Limit<Duration>>,
    /// Most bytes of payloads and results of ended tasks, or none for no limit.
    #[arg(long, value_name = "BYTES", value_parser = limits::number::<u64>("none"))]
    keep_bytes: Option<Limit<u64>>,
}

impl Config {
    /// Whether nothing is to be changed.
    pub(crate) fn only_reads(&self) -> bool {
        self.changes().is_ok_and(|(_, paths)| paths.is_empty())
    }

    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let (changed, paths) = self.changes()?;
        if paths.is_empty() {
            return settings::show(scope, admin::get(scope, &self.queue).await?);
        }
        let (settings, update_mask) = (Some(changed), Some(prost_types::FieldMask { paths }));
        let (namespace, queue) = (scope.namespace(), self.queue);
        let request = UpdateQueueRequest { namespace, queue, settings, update_mask };
        let answer = scope.mesh.queue().update_queue(request).await?.into_inner();
        settings::show(scope, answer.queue.unwrap_or_default())
    }

    /// What is to be set, and the names of it.
    fn changes(&self) -> anyhow::Result<(QueueSettings, Vec<String>)> {
        let mut paths = Vec::new();
        let mut new = QueueSettings::default();
        let keep_for = self.keep_for.map(|limit| limit.0.map(wire::to_duration));
        let rate = limits::with_burst(self.rate, self.burst)?;
        let group_rate = limits::with_burst(self.group_rate, self.group_burst)?;
        set(&mut new.max_running, self.max_running.map(Limit::or_zero), "max_running", &mut paths);
        set(&mut new.rate, rate, "rate", &mut paths);
        let group_max_running = self.group_max_running.map(Limit::or_zero);
        set(&mut new.group_max_running, group_max_running, "group_max_running", &mut paths);
        set(&mut new.group_rate, group_rate, "group_rate", &mut paths);
        set(&mut new.group_weights, limits::weights(&self.weight)?, "group_weights", &mut paths);
        set(&mut new.strict_priority, self.strict_priority, "strict_priority", &mut paths);
        set(&mut new.max_tasks, self.max_tasks.map(Limit::or_zero), "max_tasks", &mut paths);
        set(&mut new.keep_for, keep_for, "keep_for", &mut paths);
        set(&mut new.keep_bytes, self.keep_bytes.map(Limit::or_zero), "keep_bytes", &mut paths);
        Ok((new, paths))
    }
}

/// Takes a value that was given into the settings and their mask.
fn set<T>(field: &mut T, value: Option<T>, name: &str, paths: &mut Vec<String>) {
    if let Some(value) = value {
        *field = value;
        paths.push(name.to_owned());
    }
}
