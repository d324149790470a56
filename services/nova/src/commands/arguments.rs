//! How arguments are read: `key=value`, lengths of time, and content from a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use nova_runtime::StoreUrl;

use crate::failure::Misuse;

/// Largest content of a file, bytes: that of the largest request.
const LARGEST: u64 = 4 << 20;

/// Reads `key=value`; the value may be empty and hold more `=`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be key=value".to_owned()),
    }
}

/// Reads a length of time such as `500ms`, `5s`, `1h30m` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let rule = || "must be a length of time such as 500ms, 5s, 1h30m or 7d".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| rule())?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| rule())?;
    Duration::try_from(signed).map_err(|_| rule())
}

/// Reads a store: `sqlite` or the URL of a Redis.
pub(crate) fn store(text: &str) -> Result<String, String> {
    StoreUrl::parse(text).map(|_| text.to_owned()).map_err(|violation| violation.rule)
}

/// Reads the URL of an OTLP collector: a scheme, a host and a port.
pub(crate) fn collector(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let good = authority.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good { Ok(text.to_owned()) } else { Err("must be http://host:port or https://host:port".to_owned()) }
}

/// Reads the id of a task; whoever gives the name of a queue is told how.
pub(crate) fn task(text: &str) -> Result<String, String> {
    let known = nova_types::TaskId::parse("task", text);
    known
        .map(|id| id.to_string())
        .map_err(|_| "is no task's id; for the tasks of a queue say --queue NAME".to_owned())
}

/// Labels, or what else has a key, of which none is given twice.
pub(crate) fn labels<T>(pairs: Vec<(String, T)>) -> anyhow::Result<HashMap<String, T>> {
    let mut labels = HashMap::new();
    for (key, value) in pairs {
        if labels.contains_key(&key) {
            return Err(Misuse::of(format!("{key:?} is given twice")));
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// Content that stands in the argument itself, in the file after `@`, or on standard input (`@-`).
pub(crate) fn content(argument: &str) -> anyhow::Result<Vec<u8>> {
    match argument.strip_prefix('@') {
        Some(path) => file(path),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

/// [`content`] that must be text.
pub(crate) fn text(argument: &str) -> anyhow::Result<String> {
    utf8(argument, content(argument)?)
}

/// [`file`] that must be text.
pub(crate) fn text_of_file(path: &str) -> anyhow::Result<String> {
    utf8(path, file(path)?)
}

fn utf8(name: &str, content: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(content).map_err(|_| Misuse::of(format!("{name} is no UTF-8 text")))
}

/// A file's content, or that of standard input for `-`; no more of it than a call can carry.
pub(crate) fn file(path: &str) -> anyhow::Result<Vec<u8>> {
    let read = match path {
        "-" => bounded(io::stdin().lock()),
        path => File::open(path).and_then(bounded),
    };
    read.map_err(|error| Misuse::of(format!("cannot read {path}: {error}")))
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = reader.take(LARGEST + 1).read_to_end(&mut content)?;
    if read as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("a=").unwrap(), ("a".to_owned(), String::new()));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }

    #[test]
    fn a_length_of_time_needs_a_unit_and_is_not_negative() {
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("365d").unwrap(), Duration::from_secs(31_536_000));
        assert!(duration("5").is_err() && duration("-5s").is_err() && duration("soon").is_err());
    }

    #[test]
    fn a_store_is_sqlite_or_a_redis_with_a_host() {
        let shared = ["redis-cluster://a:7001,b:7002", "redis-sentinel://a:26379,b:26379/mymaster/0"];
        for good in
            ["sqlite", "redis://127.0.0.1:6379/0", "rediss://:secret@redis.example"].iter().chain(&shared)
        {
            assert_eq!(store(good).unwrap(), *good);
        }
        for bad in ["", "postgres://localhost", "redis://", "redis:///0", "SQLITE", "redis-sentinel://a"] {
            assert!(store(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_collector_has_a_scheme_a_host_and_a_port() {
        for good in ["http://127.0.0.1:4317", "https://otlp.example:443/", "http://[::1]:4317"] {
            assert_eq!(collector(good).unwrap(), good);
        }
        for bad in ["", "localhost:4317", "http://localhost", "http://:4317", "http://a:0", "http://a:1/v1"] {
            assert!(collector(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_that_is_given_twice_is_refused() {
        let twice = vec![("k".to_owned(), "a".to_owned()), ("k".to_owned(), "b".to_owned())];
        assert_eq!(labels(twice).unwrap_err().to_string(), "\"k\" is given twice");
    }
}
