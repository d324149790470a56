//! What a queue lets through: whether tasks come in, and whether they start.

use serde::{Deserialize, Serialize};

/// What a queue lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intake {
    /// Everything.
    #[default]
    Open,
    /// Tasks come in, and none starts.
    Paused,
    /// No task comes in, and what is there is worked off.
    Draining,
    /// Paused and draining: nothing starts, and no task comes in.
    Closed,
}

impl Intake {
    /// Whether tasks start.
    pub fn starts(self) -> bool {
        matches!(self, Self::Open | Self::Draining)
    }

    /// Whether tasks come in.
    pub fn takes(self) -> bool {
        matches!(self, Self::Open | Self::Paused)
    }

    /// The same, paused.
    #[must_use]
    pub fn paused(self) -> Self {
        if self.takes() { Self::Paused } else { Self::Closed }
    }

    /// The same, draining.
    #[must_use]
    pub fn draining(self) -> Self {
        if self.starts() { Self::Draining } else { Self::Closed }
    }
}
