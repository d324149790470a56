//! Settings of the policy daemon.

use nova_types::{Violation, Violations};
use serde::{Deserialize, Serialize};

/// Settings of the policy daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Decisions that are kept; the oldest give way.
    pub decisions_kept: usize,
    /// Revisions that are kept, so that their decisions can be explained.
    pub revisions_kept: usize,
    /// Daemons that may watch at the same time.
    pub most_watchers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { decisions_kept: 100_000, revisions_kept: 50, most_watchers: 1_000 }
    }
}

impl Config {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        let mut within = |field: &str, value: usize, most: usize| {
            if !(1..=most).contains(&value) {
                violations.push(Violation::new(field, format!("{value} must be 1 to {most}")));
            }
        };
        within("decisions_kept", self.decisions_kept, 10_000_000);
        within("revisions_kept", self.revisions_kept, 500);
        within("most_watchers", self.most_watchers, 100_000);
        violations.finish()
    }
}
