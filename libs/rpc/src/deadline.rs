//! The deadline of a call, and what is left of it for the calls made on its behalf.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// Header of the gRPC protocol: at most eight digits and a unit.
pub const HEADER: &str = "grpc-timeout";

tokio::task_local! {
    static DEADLINE: Option<Instant>;
}

/// The timeout that a caller asked for.
pub fn requested(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(HEADER)?.to_str().ok()?)
}

/// When a call with these headers must be over.
pub(crate) fn of(headers: &HeaderMap) -> Option<Instant> {
    requested(headers).map(|timeout| Instant::now() + timeout)
}

/// What is left of the deadline of the call that this code serves; none when it has none.
pub fn remaining() -> Option<Duration> {
    let deadline = DEADLINE.try_with(|deadline| *deadline).ok().flatten();
    deadline.map(|at| at.saturating_duration_since(Instant::now()))
}

/// Runs `work` until the deadline; `Err` when it passes first.
pub async fn keep<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let work = DEADLINE.scope(deadline, work);
    let Some(deadline) = deadline else { return Ok(work.await) };
    tokio::time::timeout_at(deadline, work).await.map_err(|_| Elapsed)
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// The header for a timeout: in milliseconds, at least one.
pub fn header(timeout: Duration) -> HeaderValue {
    let millis = timeout.as_millis().clamp(1, 99_999_999);
    HeaderValue::from_str(&format!("{millis}m")).expect("digits and a letter")
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3_600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_in_every_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("20m", Some(Duration::from_millis(20))),
            ("7u", Some(Duration::from_micros(7))),
            ("", None),
            ("m", None),
            ("123456789m", None),
            ("-1S", None),
            ("1x", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn work_sees_what_is_left_of_its_deadline() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let left = keep(Some(deadline), async { remaining() }).await.unwrap();
        assert!(left.unwrap() <= Duration::from_secs(60));
    }

    #[tokio::test]
    async fn work_ends_at_its_deadline() {
        let never = std::future::pending::<()>();
        assert_eq!(keep(Some(Instant::now() + Duration::from_millis(1)), never).await, Err(Elapsed));
    }
}
