//! Checks of what comes over the wire and has no type of its own.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Violation;

/// A duration within a range; unset means `default`.
pub fn duration(
    field: &str,
    wire: Option<&prost_types::Duration>,
    range: RangeInclusive<Duration>,
    default: Duration,
) -> Result<Duration, Violation> {
    let Some(wire) = wire else { return Ok(default) };
    let rule = |value: String| {
        let (least, most) = (in_units(*range.start()), in_units(*range.end()));
        Violation::new(field, format!("{value} must be {least} to {most}"))
    };
    let odd = || rule(format!("{} s and {} ns", wire.seconds, wire.nanos));
    // Before it is converted: prost negates a negative one, which the least of all numbers does not survive.
    if wire.seconds < 0 || wire.nanos < 0 {
        return Err(odd());
    }
    let duration = Duration::try_from(*wire).map_err(|_| odd())?;
    if range.contains(&duration) { Ok(duration) } else { Err(rule(in_units(duration))) }
}

/// A length of time in the largest unit that leaves a whole number, as people write it: `365d`, `36h`, `90s`, `250ms`.
pub fn in_units(time: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = time.as_nanos();
    let whole = UNITS.iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit));
    whole.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", nanos / unit))
}

/// A duration as protobuf has it.
pub fn to_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).expect("below a second"),
    }
}

/// A page size up to `max`; 0 means `default`.
pub fn page_size(field: &str, size: u32, default: u32, max: u32) -> Result<usize, Violation> {
    if size > max {
        return Err(Violation::new(field, format!("{size} must be at most {max}")));
    }
    Ok(if size == 0 { default } else { size } as usize)
}

/// Labels: at most 32, keys of 1 to 64 bytes, values of up to 256.
pub fn labels(field: &str, labels: &HashMap<String, String>) -> Result<(), Violation> {
    if labels.len() > 32 {
        return Err(Violation::new(field, format!("{} entries must be at most 32", labels.len())));
    }
    for (key, value) in labels {
        if key.is_empty() || key.len() > 64 || key.chars().any(char::is_control) {
            return Err(Violation::new(field, format!("key {key:?} must be 1 to 64 bytes")));
        }
        if value.len() > 256 {
            return Err(Violation::new(format!("{field}[{key:?}]"), "must be at most 256 bytes"));
        }
    }
    Ok(())
}

/// Text of a bounded size.
pub fn text(field: &str, text: &str, sizes: RangeInclusive<usize>) -> Result<(), Violation> {
    size(field, text.len(), sizes)
}

/// Bytes of a bounded size.
pub fn bytes(field: &str, bytes: &[u8], max: usize) -> Result<(), Violation> {
    size(field, bytes.len(), 0..=max)
}

fn size(field: &str, size: usize, sizes: RangeInclusive<usize>) -> Result<(), Violation> {
    if sizes.contains(&size) {
        return Ok(());
    }
    Err(Violation::new(field, format!("{size} bytes must be {} to {}", sizes.start(), sizes.end())))
}

/// An opaque page token that holds `key`.
pub fn page_token(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The key in a page token; none when it is empty.
pub fn parse_page_token(field: &str, token: &str) -> Result<Option<Vec<u8>>, Violation> {
    let key = (!token.is_empty()).then(|| URL_SAFE_NO_PAD.decode(token)).transpose();
    key.map_err(|_| Violation::new(field, "must be a token from the page before"))
}

/// [`parse_page_token`] for keys that are text.
pub fn parse_page_token_text(field: &str, token: &str) -> Result<Option<String>, Violation> {
    let Some(key) = parse_page_token(field, token)? else { return Ok(None) };
    let key = String::from_utf8(key);
    key.map(Some).map_err(|_| Violation::new(field, "must be a token from the page before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_out_of_range_states_the_range() {
        let range = Duration::from_secs(1)..=Duration::from_secs(60);
        let wire = prost_types::Duration { seconds: 61, nanos: 0 };
        let violation = duration("wait", Some(&wire), range, Duration::ZERO).unwrap_err();
        assert_eq!(violation.to_string(), "wait: 61s must be 1s to 1m");
    }

    #[test]
    fn a_length_of_time_is_told_in_its_largest_whole_unit() {
        let told = |seconds| in_units(Duration::from_secs(seconds));
        assert_eq!([told(31_536_000), told(129_600), told(90), told(0)], ["365d", "36h", "90s", "0s"]);
        assert_eq!(in_units(Duration::from_micros(1_500)), "1500us");
    }

    #[test]
    fn the_extremes_of_the_wire_are_out_of_range() {
        for (seconds, nanos) in [(i64::MIN, 2), (i64::MIN, i32::MIN), (i64::MAX, i32::MAX), (0, -1), (-1, 5)]
        {
            let wire = prost_types::Duration { seconds, nanos };
            let range = Duration::ZERO..=Duration::from_secs(60);
            assert!(duration("wait", Some(&wire), range, Duration::ZERO).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn a_page_token_gives_its_key_back() {
        let token = page_token(b"run/7");
        assert_eq!(parse_page_token_text("page_token", &token).unwrap().unwrap(), "run/7");
        assert!(parse_page_token("page_token", "%%%").is_err());
    }
}
