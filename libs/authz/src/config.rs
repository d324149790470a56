//! How a daemon decides and records.

use std::time::Duration;

use nova_types::{Violation, Violations};
use serde::{Deserialize, Serialize};

/// Longest time for one evaluation, in milliseconds, unless it is configured.
pub(crate) const EVALUATION_LIMIT_MS: u64 = 500;

/// How a daemon decides and records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest evaluation of one decision, milliseconds; one that takes longer is denied.
    pub evaluation_limit_ms: u64,
    /// Answers remembered per revision.
    pub cached_answers: u64,
    /// Decisions of each verdict that wait to be reported; the oldest gives way.
    pub waiting_decisions: usize,
    /// Record one of so many allowed calls: 1 records all, 0 none. Every denial is recorded.
    pub record_allowed_one_in: u64,
    /// Allowed calls recorded in a second at most, once as many as may wait were recorded at once: a flood of calls
    /// must not cost as much again for its records. What comes beyond is counted as dropped.
    pub record_allowed_per_second: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            evaluation_limit_ms: EVALUATION_LIMIT_MS,
            cached_answers: 10_000,
            waiting_decisions: 10_000,
            record_allowed_one_in: 1,
            record_allowed_per_second: 1_000,
        }
    }
}

impl Config {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        let mut within = |field: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                violations.push(Violation::new(field, format!("{value} must be {least} to {most}")));
            }
        };
        within("evaluation_limit_ms", self.evaluation_limit_ms, 1, 60_000);
        within("cached_answers", self.cached_answers, 0, 1_000_000);
        within("waiting_decisions", self.waiting_decisions as u64, 1, 1_000_000);
        within("record_allowed_per_second", self.record_allowed_per_second, 1, 1_000_000);
        violations.finish()
    }

    pub(crate) fn evaluation_limit(&self) -> Duration {
        Duration::from_millis(self.evaluation_limit_ms)
    }
}
