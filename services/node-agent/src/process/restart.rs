//! When a process that ended badly is started again: exponential backoff with jitter, and an end to a crash loop.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::RestartConfig;

/// The restarts of one process.
#[derive(Debug)]
pub(crate) struct Restarts {
    config: RestartConfig,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(config: RestartConfig) -> Self {
        Self { config, recent: VecDeque::new() }
    }

    /// How long to wait before the next start; none when it restarted too often of late.
    ///
    /// The delay doubles with every restart in the window. `jitter`, 0 to 1, takes up to half of it away, so that
    /// processes that fell together do not rise together.
    pub(crate) fn next(&mut self, now: Instant, jitter: f64) -> Option<Duration> {
        let window = Duration::from_secs(self.config.window_seconds);
        while self.recent.front().is_some_and(|restart| now.duration_since(*restart) >= window) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.config.limit {
            return None;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.recent.push_back(now);
        Some(self.delay(doublings).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0))
    }

    /// The longest delay, for what waits on something that is not the process's own fault.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.config.longest_delay_ms)
    }

    /// The limit in words.
    pub(crate) fn limit(&self) -> String {
        format!("{} restarts within {} s", self.config.limit, self.config.window_seconds)
    }

    fn delay(&self, doublings: u32) -> Duration {
        let first = Duration::from_millis(self.config.first_delay_ms);
        first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarts(limit: usize) -> Restarts {
        let config =
            RestartConfig { first_delay_ms: 100, longest_delay_ms: 1_000, limit, window_seconds: 60 };
        Restarts::new(config)
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let (mut restarts, now) = (restarts(6), Instant::now());
        let delays: Vec<u128> =
            std::iter::from_fn(|| restarts.next(now, 0.0)).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn jitter_takes_at_most_half_away() {
        assert_eq!(restarts(1).next(Instant::now(), 1.0), Some(Duration::from_millis(50)));
    }

    #[test]
    fn a_quiet_window_forgives() {
        let (mut restarts, now) = (restarts(1), Instant::now());
        assert!(restarts.next(now, 0.0).is_some());
        assert_eq!(restarts.next(now, 0.0), None);
        assert!(restarts.next(now + Duration::from_secs(60), 0.0).is_some());
    }
}
