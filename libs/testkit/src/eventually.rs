//! Waiting for what will come true, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// Asks again and again until `attempt` gives something, for at most `within`.
///
/// # Panics
/// When it does not, naming `what`.
pub fn eventually<T>(what: &str, within: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
