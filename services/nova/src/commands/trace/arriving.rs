//! Spans travel for a moment: daemons send them in batches. A trace that is as young is waited for.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nova_types::{Clock as _, SystemClock};

use crate::collector::{Span, Traces};

/// How old the last span of a trace is when no other is on its way.
const YOUNG: Duration = Duration::from_secs(2);
/// A trace to which nothing came for this long is all there.
const QUIET: Duration = Duration::from_millis(500);
/// Longest that one is waited for; it may go on.
const LIMIT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// The spans of a trace, with those that are on their way.
pub(super) fn whole(traces: &Traces, id: &str) -> rusqlite::Result<Vec<Span>> {
    let mut spans = traces.spans(id)?;
    let began = Instant::now();
    let mut since = began;
    while is_young(&spans) && since.elapsed() < QUIET && began.elapsed() < LIMIT {
        sleep(LOOK);
        let now = traces.spans(id)?;
        if now.len() != spans.len() {
            since = Instant::now();
        }
        spans = now;
    }
    Ok(spans)
}

fn is_young(spans: &[Span]) -> bool {
    let last = spans.iter().map(|span| span.end_ns / 1_000).max();
    last.is_some_and(|last| SystemClock.now().micros() - last < i64::try_from(YOUNG.as_micros()).unwrap_or(0))
}
