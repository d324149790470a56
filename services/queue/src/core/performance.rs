//! How a queue performs: what happened how often, and how long waits and runs took lately.
//!
//! Durations are counted in buckets that grow with them (eight to each power of two, so a percentile is within
//! 7 %). Two windows take turns, so that what is shown is of the last five to ten minutes. A window grows to the
//! longest duration seen, at most 1.5 KiB; a queue without tasks has none. Metrics need what never goes back, so the same is counted in
//! coarse buckets for good.

use std::time::Duration;

use crate::{
    figures::Histogram,
    record::{Counts, Percentiles, PerformanceView},
    task::{Micros, State, span},
};

/// Length of a window, microseconds.
const WINDOW: Micros = 300 * 1_000_000;

/// Buckets to each power of two, as bits.
const STEPS: u32 = 3;

/// Most buckets: the longest duration is about 2⁴⁶ µs, two years.
const BUCKETS: usize = 45 << STEPS;

/// What happened in one queue.
#[derive(Debug, Default)]
pub(super) struct Performance {
    /// What happened how often.
    pub(super) counts: Counts,
    /// From being ready to being leased.
    wait: Recent,
    /// From being leased to completion.
    run: Recent,
    /// All waits since the daemon leads.
    pub(super) waits: Histogram,
    /// All runs since then.
    pub(super) runs: Histogram,
}

impl Performance {
    /// An attempt began after this wait.
    pub(super) fn started(&mut self, waited: Micros, now: Micros) {
        self.counts.started += 1;
        self.wait.record(waited, now);
        self.waits.record(waited);
    }

    /// A task ended; the attempt that ended it began at `begun`.
    pub(super) fn ended(&mut self, state: State, begun: Micros, now: Micros) {
        match state {
            State::Completed => {
                self.counts.completed += 1;
                self.run.record(now - begun, now);
                self.runs.record(now - begun);
            }
            State::Dead => self.counts.dead += 1,
            State::Cancelled => self.counts.cancelled += 1,
            State::Waiting | State::Ready | State::Leased => {}
        }
    }

    /// What a reader sees of it.
    pub(super) fn view(&self, since: Micros, now: Micros) -> PerformanceView {
        let (wait, run) = (self.wait.percentiles(now), self.run.percentiles(now));
        PerformanceView { since, counts: self.counts, wait, run }
    }
}

/// How long something took lately.
#[derive(Debug, Default)]
struct Recent {
    begun: Micros,
    current: Vec<u32>,
    before: Vec<u32>,
}

impl Recent {
    /// It took so long, and ended at `now`.
    fn record(&mut self, took: Micros, now: Micros) {
        if now - self.begun >= WINDOW {
            self.turn(now);
        }
        let bucket = bucket_of(u64::try_from(took).unwrap_or(0));
        if self.current.len() <= bucket {
            self.current.resize(bucket + 1, 0);
        }
        self.current[bucket] = self.current[bucket].saturating_add(1);
    }

    /// The current window becomes the one before, unless it is too old for that.
    fn turn(&mut self, now: Micros) {
        if now - self.begun < 2 * WINDOW {
            std::mem::swap(&mut self.current, &mut self.before);
        } else {
            self.before.clear();
        }
        self.current.clear();
        self.begun = now;
    }

    /// Percentiles; nothing when nothing happened lately.
    fn percentiles(&self, now: Micros) -> Option<Percentiles> {
        let age = now - self.begun;
        let current: &[u32] = if age < 2 * WINDOW { &self.current } else { &[] };
        let before: &[u32] = if age < WINDOW { &self.before } else { &[] };
        let count = |bucket: usize| {
            [current, before]
                .iter()
                .filter_map(|window| window.get(bucket))
                .map(|count| u64::from(*count))
                .sum()
        };
        let counts: Vec<u64> = (0..current.len().max(before.len())).map(count).collect();
        let total: u64 = counts.iter().sum();
        let at = |percent: u64| percentile(&counts, (total * percent).div_ceil(100));
        (total > 0).then(|| Percentiles { p50: at(50), p95: at(95), p99: at(99) })
    }
}

/// The duration that `rank` of the counted ones do not exceed.
fn percentile(counts: &[u64], rank: u64) -> Duration {
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    span(i64::try_from(middle_of(bucket.unwrap_or(0))).unwrap_or(i64::MAX))
}

fn bucket_of(micros: u64) -> usize {
    let exponent = micros.max(1).ilog2();
    if exponent < STEPS {
        return usize::try_from(micros).unwrap_or(0);
    }
    let step = (micros >> (exponent - STEPS)) & ((1 << STEPS) - 1);
    let bucket = (u64::from(exponent - STEPS + 1) << STEPS) + step;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

fn middle_of(bucket: usize) -> u64 {
    let (octave, step) = (bucket >> STEPS, bucket as u64 & ((1 << STEPS) - 1));
    if octave == 0 {
        return step;
    }
    let width = 1u64 << (octave - 1);
    ((1 << STEPS) + step) * width + width / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Micros = 1_700_000_000_000_000;

    proptest! {
        #[test]
        fn a_bucket_is_within_seven_percent(micros in 1u64..(1 << 46)) {
            let middle = middle_of(bucket_of(micros));
            prop_assert!(middle.abs_diff(micros) * 100 <= micros * 7, "{micros} is told as {middle}");
        }
    }

    #[test]
    fn percentiles_are_of_what_happened() {
        let mut recent = Recent::default();
        (1..=1_000).for_each(|millis| recent.record(millis * 1_000, START));
        let found = recent.percentiles(START).unwrap();
        for (found, expected) in [(found.p50, 500), (found.p95, 950), (found.p99, 990)] {
            let off = found.abs_diff(Duration::from_millis(expected)).as_millis();
            assert!(off * 10 <= u128::from(expected), "{found:?} is to be about {expected} ms");
        }
    }

    #[test]
    fn what_is_older_than_two_windows_is_forgotten() {
        let mut recent = Recent::default();
        recent.record(1_000, START);
        recent.record(5, START + WINDOW);
        assert!(recent.percentiles(START + WINDOW).unwrap().p99 > Duration::from_micros(900));
        assert_eq!(recent.percentiles(START + 2 * WINDOW).unwrap().p99, Duration::from_micros(5));
        assert_eq!(recent.percentiles(START + 3 * WINDOW), None);
    }

    #[test]
    fn a_window_has_a_bounded_number_of_buckets() {
        let mut recent = Recent::default();
        recent.record(Micros::MAX, START);
        assert_eq!(recent.current.len(), BUCKETS);
    }
}
