//! Values of the contracts, as tables and records show them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nova_types::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};

/// A state's name without its enum's: `TASK_STATE_READY` is `ready`.
pub(crate) fn name(of: &str, prefix: &str) -> String {
    of.strip_prefix(prefix).unwrap_or(of).to_ascii_lowercase()
}

/// The opposite, to be looked up among an enum's values.
pub(crate) fn wire_name(name: &str, prefix: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase())
}

/// A moment for programs, RFC 3339.
pub(crate) fn rfc3339(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(|time| Timestamp::from_wire(time).to_string())
}

/// A moment for people: how long ago, or how far ahead.
pub(crate) fn relative(time: Option<&prost_types::Timestamp>) -> String {
    let Some(time) = time.map(Timestamp::from_wire) else { return String::new() };
    let now = SystemClock.now();
    if time > now {
        format!("in {}", rough(time.since(now)))
    } else {
        format!("{} ago", rough(now.since(time)))
    }
}

/// A moment for people, both ways: `2026-05-04 10:03:22 (3s ago)`, in local time.
pub(crate) fn moment(time: Option<&prost_types::Timestamp>) -> String {
    match time {
        Some(wire) => format!("{} ({})", local(wire, "%Y-%m-%d %H:%M:%S"), relative(time)),
        None => String::new(),
    }
}

/// The same on the clocks of an IANA time zone, which is told: `2026-05-04 10:03:22 CEST (in 3h)`.
pub(crate) fn moment_in(zone: &str, time: Option<&prost_types::Timestamp>) -> String {
    let Some(wire) = time else { return String::new() };
    let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    format!("{} ({})", on_clocks_of(zone, wire, "%Y-%m-%d %H:%M:%S %Z"), relative(time))
}

/// A moment in local time, in the given form.
pub(crate) fn local(time: &prost_types::Timestamp, form: &str) -> String {
    on_clocks_of(jiff::tz::TimeZone::system(), time, form)
}

fn on_clocks_of(zone: jiff::tz::TimeZone, time: &prost_types::Timestamp, form: &str) -> String {
    let time = Timestamp::from_wire(time);
    let Ok(moment) = jiff::Timestamp::from_microsecond(time.micros()) else { return time.to_string() };
    moment.to_zoned(zone).strftime(form).to_string()
}

/// A length of time in its largest unit: `3s`, `5m`, `2h`, `4d`.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7_199 => format!("{}m", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Time between two moments as `12ms`, `3.4s` or `5m 02s`; empty unless both are known.
pub(crate) fn elapsed(from: Option<&prost_types::Timestamp>, to: Option<&prost_types::Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => exact(Timestamp::from_wire(to).since(Timestamp::from_wire(from))),
        _ => String::new(),
    }
}

/// A length of time as `12ms`, `3.4s` or `5m 02s`.
pub(crate) fn exact(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..=999 => format!("{millis}ms"),
        1_000..=59_999 => format!("{:.1}s", time.as_secs_f64()),
        _ => format!("{}m {:02}s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// A duration of the wire; none when it is unset or negative.
pub(crate) fn duration(wire: Option<&prost_types::Duration>) -> Option<Duration> {
    wire.and_then(|wire| Duration::try_from(*wire).ok())
}

/// Bytes in the largest unit that leaves a whole number: `512 B`, `1.5 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let unit = (bytes.ilog2() / 10) as usize;
    format!("{:.1} {}", bytes as f64 / 1_024_f64.powi(unit as i32), UNITS[unit - 1])
}

/// A share of 0 to 1 as per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Labels as `key=value`, by key.
pub(crate) fn labels(labels: &HashMap<String, String>) -> String {
    let sorted: BTreeMap<_, _> = labels.iter().collect();
    sorted.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// A text in a table: on a terminal its first line, cut to fit; elsewhere all of it, on one line.
pub(crate) fn brief(text: &str) -> String {
    brief_in(72, text)
}

/// The same with as many characters as there is room for.
pub(crate) fn brief_in(width: usize, text: &str) -> String {
    if io::stdout().is_terminal() { cut(width, text) } else { on_one_line(text) }
}

/// All of a text, on one line.
pub(crate) fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(width: usize, text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let whole = first.len() == text.trim_end().len() && first.chars().count() <= width;
    if whole { first.to_owned() } else { first.chars().take(width - 1).chain(['…']).collect() }
}

/// Bytes for programs: JSON when they are JSON, else text, else base64 under its own name.
pub(crate) fn content(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    match (serde_json::from_slice(bytes), std::str::from_utf8(bytes)) {
        (Ok(value), _) => value,
        (Err(_), Ok(text)) => Value::from(text),
        (Err(_), Err(_)) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

/// Bytes for people: text, or how much of something else there is.
pub(crate) fn readable(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("({} that are no text)", bytes(content.len() as u64)),
    }
}

/// JSON text of the wire for programs; none when it is empty.
pub(crate) fn json_text(text: &str) -> Value {
    content(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_people_read() {
        assert_eq!(
            [bytes(512), bytes(1_536), bytes(3 << 30), bytes(u64::MAX)],
            ["512 B", "1.5 KiB", "3.0 GiB", "16.0 EiB"]
        );
    }

    #[test]
    fn a_states_name_goes_both_ways() {
        assert_eq!(name("TASK_STATE_READY", "TASK_STATE_"), "ready");
        assert_eq!(wire_name("fell_back", "STEP_STATE_"), "STEP_STATE_FELL_BACK");
    }

    #[test]
    fn content_is_json_or_text_or_base64() {
        assert_eq!(content(br#"{"a":1}"#), json!({"a": 1}));
        assert_eq!(content(b"plain"), json!("plain"));
        assert_eq!(content(&[0xff]), json!({"base64": "/w=="}));
    }

    #[test]
    fn a_moment_on_the_clocks_of_a_zone_names_it() {
        let new_year = prost_types::Timestamp { seconds: 1_767_222_000, nanos: 0 };
        let shown = |zone| moment_in(zone, Some(&new_year));
        assert!(
            shown("Europe/Berlin").starts_with("2026-01-01 00:00:00 CET ("),
            "{}",
            shown("Europe/Berlin")
        );
        assert!(shown("UTC").starts_with("2025-12-31 23:00:00 UTC ("), "{}", shown("UTC"));
    }

    #[test]
    fn a_long_text_is_cut_in_tables() {
        assert_eq!(cut(72, "one\ntwo"), "one…");
        assert_eq!(cut(72, "one\n"), "one");
        assert_eq!(cut(72, &"x".repeat(100)).chars().count(), 72);
        assert_eq!(on_one_line("one\n\ttwo"), "one two");
    }
}
