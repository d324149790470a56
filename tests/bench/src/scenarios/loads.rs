//! Whole lives as fast as they go, and their latency at half of that.

use super::Bench;
use crate::figures::MEBIBYTE;
use crate::goals::{LIVES, TLS_SHARE};
use crate::job::{Job, Outcome};
use crate::system::Cost;

/// Callers of the load that latency is measured at half of.
const CALLERS: usize = 128;

/// One task a call.
pub(super) async fn unary(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    for callers in [CALLERS, 256] {
        rate(bench, &format!("unary-{callers}"), callers, 1).await?;
    }
    Ok(())
}

/// 64 tasks a call.
pub(super) async fn batched(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    rate(bench, "batched-64", 8, 64).await
}

async fn rate(bench: &mut Bench<'_>, scenario: &str, callers: usize, batch: usize) -> anyhow::Result<()> {
    bench.run(&Job::lives(callers, batch, bench.plan.warm_up)).await?;
    let job = Job::lives(callers, batch, bench.plan.seconds);
    let (outcome, cost) = bench.cost(&job).await?;
    bench.note(scenario, &job, &[(LIVES, outcome.rate(), "1/s")]);
    note_counts(bench, scenario, &job, &outcome);
    note_spreads(bench, scenario, &job, &Outcome { start: None, ..outcome });
    note_cost(bench, scenario, &job, &outcome, &cost);
    note_tls(bench, scenario, &job);
    Ok(())
}

/// What TLS leaves of the rate without it, once both were measured.
fn note_tls(bench: &mut Bench<'_>, scenario: &str, job: &Job) {
    let name = bench.system.name();
    let with = name.strip_suffix("-plaintext").and_then(|with| bench.figures.value(scenario, with, LIVES));
    let without = bench.figures.value(scenario, name, LIVES);
    if let (Some(with), Some(without)) = (with, without) {
        bench.note(scenario, job, &[(TLS_SHARE, with / without, "times")]);
    }
}

/// At half of what 128 callers reach.
pub(super) async fn latency(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let half = half(bench).await?;
    paced(bench, "half-load", |seconds| at_pace(half, seconds)).await.map(drop)
}

/// Half of what 128 callers reach, lives a second.
pub(super) async fn half(bench: &mut Bench<'_>) -> anyhow::Result<f64> {
    let full = match bench.figures.value("unary-128", bench.system.name(), LIVES) {
        Some(rate) => rate,
        None => bench.run(&Job::lives(CALLERS, 1, bench.plan.seconds)).await?.rate(),
    };
    Ok(full / 2.0)
}

/// One task a call, so many a second.
pub(super) fn at_pace(rate: f64, seconds: f64) -> Job {
    Job::Lives { callers: CALLERS, batch: 1, per_second: Some(rate), seconds, sdk: false }
}

/// The same, worked by the worker SDK.
pub(super) fn with_sdk(mut job: Job) -> Job {
    if let Job::Lives { sdk, .. } = &mut job {
        *sdk = true;
    }
    job
}

/// A job of so many seconds, after a short one like it; answers it and what came of it.
pub(super) async fn paced(
    bench: &mut Bench<'_>,
    scenario: &str,
    job: impl Fn(f64) -> Job,
) -> anyhow::Result<(Job, Outcome)> {
    bench.run(&job(bench.plan.warm_up)).await?;
    let job = job(bench.plan.seconds);
    let (outcome, cost) = bench.cost(&job).await?;
    note_counts(bench, scenario, &job, &outcome);
    note_spreads(bench, scenario, &job, &outcome);
    note_cost(bench, scenario, &job, &outcome, &cost);
    Ok((job, outcome))
}

fn note_counts(bench: &mut Bench<'_>, scenario: &str, job: &Job, outcome: &Outcome) {
    let tasks = [("enqueued", outcome.enqueued), ("completed", outcome.completed)];
    bench.note(scenario, job, &tasks.map(|(metric, tasks)| (metric, tasks as f64, "tasks")));
}

fn note_spreads(bench: &mut Bench<'_>, scenario: &str, job: &Job, outcome: &Outcome) {
    for (what, spread) in [("enqueue", outcome.enqueue), ("enqueue_to_start", outcome.start)] {
        let Some(spread) = spread else { continue };
        let (p50, p99) = (format!("{what}_p50"), format!("{what}_p99"));
        bench.note(scenario, job, &[(&p50, spread.p50, "ms"), (&p99, spread.p99, "ms")]);
    }
}

fn note_cost(bench: &mut Bench<'_>, scenario: &str, job: &Job, outcome: &Outcome, cost: &Cost) {
    let micros = |seconds: f64| seconds * 1e6 / outcome.completed as f64;
    let figures = [
        ("server_cpu_per_task", micros(cost.server_cpu), "µs"),
        ("client_cpu_per_task", micros(cost.client_cpu), "µs"),
        ("server_memory", cost.server_memory / MEBIBYTE, "MiB"),
        ("client_memory", cost.client_memory / MEBIBYTE, "MiB"),
    ];
    bench.note(scenario, job, &figures);
}
