//! How long to wait before a call is made again.

use std::time::Duration;

use rand::Rng as _;

/// A mesh comes up in less than a second; its daemons must not miss each other.
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(250);

/// Waits that double, with half of each left to chance, so that callers do not come back together.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// How long to wait before the next try; longer each time, a quarter of a second at most.
    pub fn next_wait(&mut self) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST);
        full.mul_f64(rand::rng().random_range(0.5..1.0))
    }
}
