//! The same pace without traces and with every call traced: what traces cost, and whether a span is lost on its way. Once
//! with workers that speak the contract themselves, once with the worker SDK, which makes spans of its own.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Bench;
use super::loads::{at_pace, paced, with_sdk};
use crate::goals::{LIVES, TRACED_SHARE};
use crate::job::{Job, Outcome};
use crate::system::SpanCounts;

/// How long the last spans may be on their way.
const ARRIVAL: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let pace = bench.plan.pace;
    run(bench, "traced", |seconds| at_pace(pace, seconds)).await?;
    if !bench.system.has_sdk() {
        return Ok(());
    }
    let job = run(bench, "traced-sdk", |seconds| with_sdk(at_pace(pace, seconds))).await?;
    if let Some(spans) = told(bench).await? {
        note_spans(bench, "traced-sdk", &job, "worker_spans", &spans);
    }
    Ok(())
}

async fn run(bench: &mut Bench<'_>, scenario: &str, job: impl Fn(f64) -> Job) -> anyhow::Result<Job> {
    // Of what was done before all has arrived.
    let before = arrived(bench).await?.unwrap_or_default();
    let (job, outcome) = paced(bench, scenario, job).await?;
    bench.note(scenario, &job, &[(LIVES, outcome.rate(), "1/s")]);
    if let Some(spans) = arrived(bench).await? {
        note_spans(bench, scenario, &job, "spans", &spans.since(&before));
        note_share(bench, scenario, &job, &outcome);
    }
    Ok(job)
}

fn note_spans(bench: &mut Bench<'_>, scenario: &str, job: &Job, what: &str, spans: &SpanCounts) {
    let counts = [("recorded", spans.recorded), ("lost", spans.lost), ("arrived", spans.arrived)];
    for (which, count) in counts {
        bench.note(scenario, job, &[(&format!("{what}_{which}"), count as f64, "spans")]);
    }
}

fn note_share(bench: &mut Bench<'_>, scenario: &str, job: &Job, outcome: &Outcome) {
    let untraced = bench.system.name().trim_end_matches("-traced").to_owned();
    if let Some(untraced) = bench.figures.value(scenario, &untraced, LIVES) {
        bench.note(scenario, job, &[(TRACED_SHARE, outcome.rate() / untraced, "times")]);
    }
}

/// Spans, once all that were not lost have arrived. The servers' own beats go on meanwhile.
async fn arrived(bench: &Bench<'_>) -> anyhow::Result<Option<SpanCounts>> {
    let until = Instant::now() + ARRIVAL;
    loop {
        let Some(spans) = bench.system.spans() else { return Ok(None) };
        if spans.arrived + spans.lost >= spans.recorded {
            return Ok(Some(spans));
        }
        ensure!(Instant::now() < until, "spans neither arrived nor were counted as lost: {spans:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// The SDK's spans, once all have arrived: nobody else counts those that do not.
async fn told(bench: &Bench<'_>) -> anyhow::Result<Option<SpanCounts>> {
    let until = Instant::now() + ARRIVAL;
    loop {
        let Some(spans) = bench.system.worker_spans() else { return Ok(None) };
        if spans.arrived >= spans.recorded {
            return Ok(Some(spans));
        }
        ensure!(Instant::now() < until, "spans of the worker are lost: {spans:?}");
        tokio::time::sleep(POLL).await;
    }
}
