//! The same pace without traces and with every call traced: what traces cost, and whether a span is lost on its way.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Bench;
use super::loads::paced;
use crate::goals::{LIVES, TRACED_SHARE};
use crate::system::SpanCounts;

const SCENARIO: &str = "traced";
/// How long the last spans may be on their way.
const ARRIVAL: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    // Of what was done before all has arrived.
    let before = arrived(bench).await?.unwrap_or_default();
    let (job, outcome) = paced(bench, SCENARIO, bench.plan.pace).await?;
    bench.note(SCENARIO, &job, &[(LIVES, outcome.rate(), "1/s")]);
    let Some(spans) = arrived(bench).await? else { return Ok(()) };
    let counts = [
        ("spans_recorded", spans.recorded - before.recorded),
        ("spans_lost", spans.lost - before.lost),
        ("spans_arrived", spans.arrived - before.arrived),
    ];
    let counts = counts.map(|(metric, spans)| (metric, spans as f64, "spans"));
    bench.note(SCENARIO, &job, &counts);
    let untraced = bench.system.name().trim_end_matches("-traced").to_owned();
    if let Some(untraced) = bench.figures.value(SCENARIO, &untraced, LIVES) {
        bench.note(SCENARIO, &job, &[(TRACED_SHARE, outcome.rate() / untraced, "times")]);
    }
    Ok(())
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
