//! Moments, in microseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that many microseconds after the epoch; negative ones become zero.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.max(0))
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub fn millis(self) -> i64 {
        self.0 / 1_000
    }

    /// Time from `earlier` until this moment; zero when it is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// As protobuf has it.
    pub fn to_wire(self) -> prost_types::Timestamp {
        let nanos = i32::try_from((self.0 % 1_000_000) * 1_000).expect("below a second");
        prost_types::Timestamp { seconds: self.0 / 1_000_000, nanos }
    }

    /// From protobuf; moments before the epoch become the epoch.
    pub fn from_wire(wire: &prost_types::Timestamp) -> Self {
        Self::from_micros(
            wire.seconds.saturating_mul(1_000_000).saturating_add(i64::from(wire.nanos) / 1_000),
        )
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment}"),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, duration: Duration) -> Timestamp {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, duration: Duration) -> Timestamp {
        Self::from_micros(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}
