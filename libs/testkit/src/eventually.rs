//! Waiting for what will come true, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

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
        std::thread::sleep(PAUSE);
    }
}

/// [`eventually`] where an attempt waits itself: other tasks go on meanwhile.
///
/// # Panics
/// When it does not come true, naming `what`.
pub async fn soon<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> T {
    let coming = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let came = tokio::time::timeout(within, coming).await;
    came.unwrap_or_else(|_| panic!("not within {within:?}: {what}"))
}
