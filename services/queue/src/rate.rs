//! How often tasks may start.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A token bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Tasks for each period; at least 1.
    pub count: u32,
    /// The period.
    pub period: Duration,
    /// Most that may start at once after a rest; 0 for as many as `count`.
    pub burst: u32,
}

impl RateLimit {
    /// Tokens of a full bucket; at least 1.
    pub fn burst(&self) -> u32 {
        if self.burst == 0 { self.count.max(1) } else { self.burst }
    }
}
