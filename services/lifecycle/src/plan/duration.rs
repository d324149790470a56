//! Durations as plans write them: `500ms`, `30s`, `10m`, `1h30m`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration written with units, at most 365 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanDuration(Duration);

impl PlanDuration {
    /// One hour, the longest time of a run that says nothing else.
    pub fn hour() -> Self {
        Self(Duration::from_secs(3_600))
    }

    /// The duration.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for PlanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl TryFrom<String> for PlanDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let seconds = parse(&text).filter(|seconds| (0.0..=31_536_000.0).contains(seconds));
        let seconds =
            seconds.ok_or(format!("{text:?} must be a duration such as 500ms, 30s, 10m or 1h30m"))?;
        Ok(Self(Duration::from_millis((seconds * 1_000.0).round() as u64)))
    }
}

impl From<PlanDuration> for String {
    fn from(duration: PlanDuration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for PlanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1_000) { write!(f, "{}s", millis / 1_000) } else { write!(f, "{millis}ms") }
    }
}

/// Seconds.
fn parse(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, scale) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        seconds += number * scale;
    }
    (!text.is_empty()).then_some(seconds)
}

/// Longer names first: `m` is the beginning of `ms`.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, millis) in [("500ms", 500), ("30s", 30_000), ("1.5m", 90_000), ("1h30m", 5_400_000)] {
            let duration = PlanDuration::try_from(text.to_owned()).unwrap();
            assert_eq!(duration.get(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn a_number_needs_a_unit() {
        for text in ["", "5", "s", "5 s", "-1s", "99999h", "1.2.3s"] {
            assert!(PlanDuration::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
