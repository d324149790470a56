//! The same pace without traces and with every call traced: what traces cost, and whether a span is lost on its way.

use std::time::{Duration, Instant};

use super::Bench;
use super::loads::paced;
use crate::goals::LIVES;
use crate::system::SpanCounts;

const SCENARIO: &str = "traced";
/// How long the last spans may be on their way.
const ARRIVAL: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (job, outcome) = paced(bench, SCENARIO, bench.plan.pace).await?;
    bench.note(SCENARIO, &job, &[(LIVES, outcome.rate(), "1/s")]);
    let Some(spans) = arrived(bench).await else { return Ok(()) };
    let counts = [
        ("spans_recorded", spans.recorded as f64, "spans"),
        ("spans_lost", spans.lost as f64, "spans"),
        ("spans_arrived", spans.arrived as f64, "spans"),
    ];
    bench.note(SCENARIO, &job, &counts);
    let untraced = bench.system.name().trim_end_matches("-traced").to_owned();
    if let Some(untraced) = bench.figures.value(SCENARIO, &untraced, LIVES) {
        bench.note(SCENARIO, &job, &[("share_of_untraced", outcome.rate() / untraced, "times")]);
    }
    Ok(())
}

/// Spans, once all that were not lost have arrived, or time is up. The servers' own beats go on meanwhile.
async fn arrived(bench: &Bench<'_>) -> Option<SpanCounts> {
    let until = Instant::now() + ARRIVAL;
    loop {
        let spans = bench.system.spans()?;
        if spans.arrived + spans.lost >= spans.recorded || Instant::now() > until {
            return Some(spans);
        }
        tokio::time::sleep(POLL).await;
    }
}
