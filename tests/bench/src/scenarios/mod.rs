//! What is measured on every system in the same way.

mod backlog;
mod bullmq_bench;
mod loads;
mod traced;

use clap::ValueEnum;

use crate::figures::{Figures, Measured};
use crate::job::{Job, Outcome};
use crate::plan::Plan;
use crate::system::{self, Cost, System};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Start and memory of a mesh.
    Mesh,
    /// One task a call, 128 and 256 callers.
    Unary,
    /// 64 tasks a call.
    Batched,
    /// How long enqueue, and enqueue to start, take at half of the unary load.
    Latency,
    /// 10,000 lives a second, not as fast as they go: without traces, and with every call traced.
    Traced,
    /// bullmq-bench's four: `queue-add`, `queue-add-bulk`, `worker-generic`, `worker-concurrent`.
    BullmqBench,
    /// What a task costs while a thousand, and while a million others stand.
    Backlog,
    /// A flood of tasks while workers work; Nova only.
    Overload,
    /// A million dead letters purged while others work; Nova only.
    Purge,
}

impl Scenario {
    /// Whether peers can do it, too.
    pub(crate) fn is_for_all(self) -> bool {
        !matches!(self, Self::Mesh | Self::Overload | Self::Purge)
    }
}

/// Measures a system, one scenario after the other. The backlog comes last: it is never worked off.
pub(crate) async fn measure(bench: &mut Bench<'_>, wants: impl Fn(Scenario) -> bool) -> anyhow::Result<()> {
    if wants(Scenario::Unary) {
        loads::unary(bench).await?;
    }
    if wants(Scenario::Batched) {
        loads::batched(bench).await?;
    }
    if wants(Scenario::Latency) {
        loads::latency(bench).await?;
    }
    if wants(Scenario::Traced) {
        traced::measure(bench).await?;
    }
    if wants(Scenario::BullmqBench) {
        bullmq_bench::measure(bench).await?;
    }
    if wants(Scenario::Backlog) {
        backlog::measure(bench).await?;
    }
    Ok(())
}

/// A system under measurement.
pub(crate) struct Bench<'a> {
    pub(crate) system: &'a mut dyn System,
    pub(crate) plan: &'a Plan,
    pub(crate) figures: &'a mut Figures,
}

impl Bench<'_> {
    async fn run(&mut self, job: &Job) -> anyhow::Result<Outcome> {
        self.system.run(job).await
    }

    async fn cost(&mut self, job: &Job) -> anyhow::Result<(Outcome, Cost)> {
        system::cost(self.system, job).await
    }

    /// Notes figures of one scenario: metric, value, unit.
    fn note(&mut self, scenario: &str, job: &Job, figures: &[(&str, f64, &'static str)]) {
        let system = self.system.name().to_owned();
        self.figures.describe(&system, &self.system.settings());
        let job = job.to_string();
        let of = Measured { scenario, system: &system, settings: &job };
        for (metric, value, unit) in figures {
            self.figures.add(&of, metric, *value, unit);
        }
    }
}
