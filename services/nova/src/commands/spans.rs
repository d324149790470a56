//! What a daemon says of its spans on its page of metrics: how many it recorded, and how many of them were lost.

use std::iter::Sum;
use std::time::Duration;

use serde::Serialize;

use crate::supervisor::get;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Spans that the collector took, or with `error_type` did not take.
const EXPORTED: &str = "otel_sdk_exporter_span_exported";
/// Spans handed to the exporter, or with `error_type` dropped because too many waited.
const PROCESSED: &str = "otel_sdk_processor_span_processed";

/// Spans of a process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Spans {
    /// All that have left it, or should have.
    pub(crate) recorded: u64,
    /// Those of them that no collector got: too many waited, or it was away for too long.
    pub(crate) lost: u64,
}

impl Spans {
    /// Those of the daemon with its HTTP side at `address`; nothing of one that does not answer.
    pub(crate) async fn of(address: &str) -> Self {
        match tokio::time::timeout(PATIENCE, get(address, "/metrics")).await {
            Ok(Ok((200, page))) => Self::read(&page),
            _ => Self::default(),
        }
    }

    fn read(page: &str) -> Self {
        page.lines().filter_map(sample).sum()
    }
}

/// What one line adds.
fn sample(line: &str) -> Option<Spans> {
    let (name, value) = line.rsplit_once(' ')?;
    let count = value.parse::<f64>().ok()? as u64;
    let failed = name.contains("error_type=");
    if name.starts_with(EXPORTED) {
        return Some(Spans { recorded: count, lost: if failed { count } else { 0 } });
    }
    (name.starts_with(PROCESSED) && failed).then_some(Spans { recorded: count, lost: count })
}

impl Sum for Spans {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let add =
            |sum: Self, one: Self| Self { recorded: sum.recorded + one.recorded, lost: sum.lost + one.lost };
        all.fold(Self::default(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_and_what_was_refused_is_lost() {
        let page = "# TYPE otel_sdk_exporter_span_exported_total counter\n\
                    otel_sdk_exporter_span_exported_total{otel_scope_name=\"t\"} 100\n\
                    otel_sdk_exporter_span_exported_total{error_type=\"rejected\"} 4\n\
                    otel_sdk_processor_span_processed_total{otel_scope_name=\"t\"} 104\n\
                    otel_sdk_processor_span_processed_total{error_type=\"queue_full\"} 3\n\
                    nova_queue_depth 7\n";
        assert_eq!(Spans::read(page), Spans { recorded: 107, lost: 7 });
    }
}
