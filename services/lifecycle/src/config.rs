//! Settings of the lifecycle daemon.

use std::time::Duration;

use nova_types::Violations;
use serde::{Deserialize, Serialize};

use crate::run::Keep;

/// Settings of the lifecycle daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleConfig {
    /// Runs that may be open at once; StartRun answers RESOURCE_EXHAUSTED beyond.
    pub max_open_runs: usize,
    /// Watches of runs that may be open at once; WatchRun answers RESOURCE_EXHAUSTED beyond.
    pub max_watches: usize,
    /// An agent that is silent for this long is unreachable, milliseconds.
    pub heartbeat_patience_ms: u64,
    /// How often silent agents are looked for, milliseconds.
    pub detector_interval_ms: u64,
    /// How often the processes of agents are compared with those that open runs want, milliseconds.
    pub reconcile_interval_ms: u64,
    /// How long the end of a run waits for decisions that daemons have not reported yet, milliseconds.
    pub decision_wait_ms: u64,
    /// Runs that have ended and are kept; beyond, those that ended first are forgotten.
    pub keep_runs: usize,
    /// How long ended runs are kept, and ended sessions, seconds.
    pub keep_runs_seconds: u64,
    /// Whether runs are driven. If not, open ones are left as they are, and StartRun answers FAILED_PRECONDITION.
    pub drive_runs: bool,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            max_open_runs: 1_000,
            max_watches: 1_000,
            heartbeat_patience_ms: 15_000,
            detector_interval_ms: 2_000,
            reconcile_interval_ms: 1_000,
            decision_wait_ms: 3_000,
            keep_runs: 10_000,
            keep_runs_seconds: 30 * 86_400,
            drive_runs: true,
        }
    }
}

impl LifecycleConfig {
    /// Checks what types alone do not.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        violations.require(self.max_open_runs > 0, "lifecycle.max_open_runs", "must be at least 1");
        violations.require(
            (1..=100_000).contains(&self.max_watches),
            "lifecycle.max_watches",
            "must be 1 to 100000",
        );
        for (field, value) in [
            ("lifecycle.heartbeat_patience_ms", self.heartbeat_patience_ms),
            ("lifecycle.detector_interval_ms", self.detector_interval_ms),
            ("lifecycle.reconcile_interval_ms", self.reconcile_interval_ms),
        ] {
            let rule = format!("{value} must be 10 to 3600000");
            violations.require((10..=3_600_000).contains(&value), field, &rule);
        }
        violations.require(
            (1..=1_000_000).contains(&self.keep_runs),
            "lifecycle.keep_runs",
            "must be 1 to 1000000",
        );
        violations.require(
            (1..=315_360_000).contains(&self.keep_runs_seconds),
            "lifecycle.keep_runs_seconds",
            "must be 1 to 315360000, which is ten years",
        );
        violations.require(
            self.decision_wait_ms <= 60_000,
            "lifecycle.decision_wait_ms",
            "must be at most 60000",
        );
        violations.finish()
    }

    pub(crate) fn heartbeat_patience(&self) -> Duration {
        Duration::from_millis(self.heartbeat_patience_ms)
    }

    pub(crate) fn detector_interval(&self) -> Duration {
        Duration::from_millis(self.detector_interval_ms)
    }

    pub(crate) fn reconcile_interval(&self) -> Duration {
        Duration::from_millis(self.reconcile_interval_ms)
    }

    pub(crate) fn keep(&self) -> Keep {
        Keep { runs: self.keep_runs, time: Duration::from_secs(self.keep_runs_seconds) }
    }

    pub(crate) fn decision_wait(&self) -> Duration {
        Duration::from_millis(self.decision_wait_ms)
    }
}
