//! How many of the allowed calls are recorded: a burst, then a steady rate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A leaky bucket without a lock: one number says until when what was admitted is paid for.
#[derive(Debug)]
pub(crate) struct Budget {
    origin: Instant,
    /// Nanoseconds between two, at the steady rate.
    interval: u64,
    /// Nanoseconds that may be spent in advance.
    burst: u64,
    /// Nanoseconds since the origin.
    paid_until: AtomicU64,
}

impl Budget {
    /// `burst` at once, then `per_second`.
    pub(crate) fn new(per_second: u64, burst: usize) -> Self {
        let interval = 1_000_000_000 / per_second.max(1);
        let burst = interval.saturating_mul(burst.max(1) as u64);
        Self { origin: Instant::now(), interval, burst, paid_until: AtomicU64::new(0) }
    }

    /// Whether there is room for one more now.
    pub(crate) fn admits(&self) -> bool {
        self.admits_after(self.origin.elapsed())
    }

    fn admits_after(&self, elapsed: Duration) -> bool {
        let now = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let spend = |paid: u64| {
            let next = paid.max(now).saturating_add(self.interval);
            (next <= now.saturating_add(self.burst)).then_some(next)
        };
        self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_a_steady_rate() {
        let budget = Budget::new(1_000, 10);
        let admitted = |at: u64| (0..100).filter(|_| budget.admits_after(Duration::from_millis(at))).count();
        assert_eq!(admitted(0), 10);
        assert_eq!(admitted(0), 0);
        assert_eq!(admitted(3), 3);
        assert_eq!(admitted(10_000), 10);
    }
}
