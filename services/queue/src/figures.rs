//! What metrics tell of queues: of the first by name, and of all others together.

use std::{sync::Arc, time::Duration};

use crate::{
    record::{Counts, QueueStats},
    task::{Micros, span},
};

/// One queue, or several together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Namespace and name; none for all queues that are not named.
    pub name: Option<(Arc<str>, Arc<str>)>,
    /// Its tasks, counted.
    pub stats: QueueStats,
    /// What happened how often since the daemon leads.
    pub counts: Counts,
    /// From being ready to being leased, likewise.
    pub wait: Histogram,
    /// From being leased to completion, likewise.
    pub run: Histogram,
}

impl Figures {
    /// Adds another queue.
    pub fn add(&mut self, other: &Self) {
        let (mine, theirs) = (&mut self.stats, &other.stats);
        mine.waiting += theirs.waiting;
        mine.ready += theirs.ready;
        mine.leased += theirs.leased;
        mine.completed += theirs.completed;
        mine.dead += theirs.dead;
        mine.cancelled += theirs.cancelled;
        mine.oldest_ready = mine.oldest_ready.into_iter().chain(theirs.oldest_ready).min();
        self.counts.add(&other.counts);
        self.wait.add(&other.wait);
        self.run.add(&other.run);
    }

    /// How many of its tasks are in which state; those that ended are the ones that are kept.
    pub fn by_state(&self) -> [(&'static str, u64); 6] {
        let stats = &self.stats;
        [
            ("waiting", stats.waiting),
            ("ready", stats.ready),
            ("leased", stats.leased),
            ("completed", stats.completed),
            ("dead", stats.dead),
            ("cancelled", stats.cancelled),
        ]
    }
}

impl Counts {
    /// Adds what happened in another queue.
    pub fn add(&mut self, other: &Self) {
        self.enqueued += other.enqueued;
        self.started += other.started;
        self.completed += other.completed;
        self.failed += other.failed;
        self.expired += other.expired;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
    }

    /// How attempts ended that were not handed back.
    pub fn attempts(&self) -> [(&'static str, u64); 3] {
        [("completed", self.completed), ("failed", self.failed), ("expired", self.expired)]
    }

    /// In which states tasks ended.
    pub fn ended(&self) -> [(&'static str, u64); 3] {
        [("completed", self.completed), ("dead", self.dead), ("cancelled", self.cancelled)]
    }
}

const MILLI: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// Upper bounds of what is counted together: those that OpenTelemetry's conventions give for messaging, and longer ones,
/// since tasks also take minutes and wait for hours.
const BOUNDS: [Micros; 19] = [
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    75 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    750 * MILLI,
    SECOND,
    2_500 * MILLI,
    5 * SECOND,
    7_500 * MILLI,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    300 * SECOND,
    1_800 * SECOND,
    3_600 * SECOND,
];

/// How long something took, counted; it grows to the longest duration seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    sum: Micros,
}

impl Histogram {
    /// It took so long.
    pub fn record(&mut self, took: Micros) {
        let took = took.max(0);
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        self.grow(bucket + 1);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        self.grow(other.counts.len());
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum = self.sum.saturating_add(other.sum);
    }

    fn grow(&mut self, buckets: usize) {
        if self.counts.len() < buckets {
            self.counts.resize(buckets, 0);
        }
    }

    /// How many took at most how long.
    pub fn at_most(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut count = 0;
        BOUNDS.iter().enumerate().map(move |(bucket, bound)| {
            count += self.counts.get(bucket).unwrap_or(&0);
            (span(*bound), count)
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together.
    pub fn sum(&self) -> Duration {
        span(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_its_bound() {
        let mut histogram = Histogram::default();
        [0, 5 * MILLI, 5 * MILLI + 1, 4_000 * SECOND].into_iter().for_each(|took| histogram.record(took));
        let found: Vec<_> = histogram.at_most().collect();
        assert_eq!(found[..2], [(Duration::from_millis(5), 2), (Duration::from_millis(10), 3)]);
        assert_eq!(found[BOUNDS.len() - 1], (Duration::from_secs(3_600), 3));
        assert_eq!((histogram.count(), histogram.sum().as_secs()), (4, 4_000));
    }

    #[test]
    fn queues_without_a_name_are_counted_together() {
        let counts =
            Counts { completed: 1, failed: 2, expired: 3, dead: 4, cancelled: 5, ..Counts::default() };
        let one = Figures { counts, ..Figures::default() };
        let mut both = one.clone();
        both.add(&one);
        assert_eq!(both.counts.attempts(), [("completed", 2), ("failed", 4), ("expired", 6)]);
        assert_eq!(both.counts.ended(), [("completed", 2), ("dead", 8), ("cancelled", 10)]);
    }

    #[test]
    fn two_are_added_whichever_is_longer() {
        let (mut short, mut long) = (Histogram::default(), Histogram::default());
        short.record(MILLI);
        long.record(SECOND);
        let mut other = long.clone();
        other.add(&short);
        short.add(&long);
        assert_eq!(short, other);
        assert_eq!(short.count(), 2);
    }
}
