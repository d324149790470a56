//! What a queue under measurement is asked to do, and what it says of it. Peers' programs read a [`Job`] as a line
//! of JSON and answer with an [`Outcome`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bytes of a task's payload, on every system.
pub(crate) const PAYLOAD: usize = 256;

/// Tasks that workers hold at once, on every system that says how many: Nova's credit is larger, and stated.
pub(crate) const CONCURRENCY: usize = 128;

/// Longest wait for the lives that are under way when producers end.
pub(crate) const DRAIN: Duration = Duration::from_secs(120);

/// Longest that a task may take in a job with a number of them: the slowest peer takes half of it.
const LONGEST_TASK: Duration = Duration::from_millis(4);

/// One piece of work.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Job {
    /// Enqueue for `seconds` while workers complete, until all that was enqueued is completed.
    Lives {
        /// Enqueue calls at once.
        callers: usize,
        /// Tasks of one call.
        batch: usize,
        /// Calls a second over all callers; none: as fast as they are answered. A call that is late counts from
        /// when it was due: else a slow queue would be asked less, and look fast.
        per_second: Option<f64>,
        /// How long tasks are enqueued.
        seconds: f64,
        /// Worked with Nova's worker SDK, in a process of its own: of Nova only.
        #[serde(skip)]
        sdk: bool,
    },
    /// Enqueue `tasks`, while nobody works.
    Add {
        /// Enqueue calls at once.
        callers: usize,
        /// Tasks of one call.
        batch: usize,
        /// How many in all.
        tasks: u64,
    },
    /// Complete `tasks` of those that stand.
    Work {
        /// Tasks that workers hold at once.
        concurrency: usize,
        /// How many in all. A peer that cannot stop in time may complete more, and says so.
        tasks: u64,
    },
}

impl Job {
    /// As fast as it goes.
    pub(crate) fn lives(callers: usize, batch: usize, seconds: f64) -> Self {
        Self::Lives { callers, batch, per_second: None, seconds, sdk: false }
    }

    /// When to give it up.
    pub(crate) fn limit(&self) -> Duration {
        match self {
            Self::Lives { seconds, .. } => DRAIN + Duration::from_secs_f64(*seconds),
            Self::Add { tasks, .. } | Self::Work { tasks, .. } => DRAIN + LONGEST_TASK.mul_f64(*tasks as f64),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lives { callers, batch, per_second, sdk, .. } => {
                if let Some(rate) = per_second {
                    write!(f, "{rate:.0} calls/s, ")?;
                }
                write!(f, "{callers} callers, {batch} × {PAYLOAD} B a call")?;
                if *sdk { f.write_str(", worked by the worker SDK") } else { Ok(()) }
            }
            Self::Add { callers, batch, tasks } => {
                write!(f, "{tasks} tasks, {callers} callers, {batch} × {PAYLOAD} B a call, no worker")
            }
            Self::Work { concurrency, tasks } => {
                write!(f, "{tasks} tasks of {PAYLOAD} B that stand, {concurrency} worked at once")
            }
        }
    }
}

/// What came of a job.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Outcome {
    /// Tasks whose enqueue was acknowledged.
    pub(crate) enqueued: u64,
    /// Tasks that were completed.
    pub(crate) completed: u64,
    /// From the first call, or the worker's start, to the last answer.
    pub(crate) seconds: f64,
    /// Duration of an enqueue call.
    pub(crate) enqueue: Option<Spread>,
    /// From an enqueue call to the arrival of its task at a worker.
    pub(crate) start: Option<Spread>,
}

impl Outcome {
    /// Tasks a second.
    pub(crate) fn rate(&self) -> f64 {
        self.enqueued.max(self.completed) as f64 / self.seconds
    }
}

/// How a duration is spread, milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Spread {
    /// Half of them are shorter.
    pub(crate) p50: f64,
    /// All but one in a hundred are shorter.
    pub(crate) p99: f64,
}

impl Spread {
    /// Of durations in microseconds; none of none.
    pub(crate) fn of(mut micros: Vec<u32>) -> Option<Self> {
        micros.sort_unstable();
        let at = |share: f64| {
            let place = (micros.len() as f64 * share) as usize;
            micros.get(place.min(micros.len().checked_sub(1)?)).map(|value| f64::from(*value) / 1_000.0)
        };
        Some(Self { p50: at(0.5)?, p99: at(0.99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_sorted_durations() {
        let spread = Spread::of((1..=1_000).rev().collect()).unwrap();
        assert_eq!((spread.p50, spread.p99), (0.501, 0.991));
        assert!(Spread::of(Vec::new()).is_none());
    }

    #[test]
    fn a_job_is_one_line_of_json() {
        let line = serde_json::to_string(&Job::lives(128, 1, 0.5)).unwrap();
        assert_eq!(line, r#"{"do":"lives","callers":128,"batch":1,"per_second":null,"seconds":0.5}"#);
    }
}
