//! What is counted as it happens; what the core counts of each queue anyway, [`gauges`](crate::gauges) shows. Names
//! follow OpenTelemetry's messaging conventions
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>); what they lack is `nova.queue.*`.

use std::sync::LazyLock;

use nova_types::Timestamp;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};

use crate::core::schedules::Tick;

struct Instruments {
    settled: Counter<u64>,
    ticks: Counter<u64>,
    changes: Histogram<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = global::meter("nova-queue");
    Instruments {
        settled: meter
            .u64_counter("nova.queue.settled.messages")
            .with_unit("{message}")
            .with_description("Settlements, by outcome")
            .build(),
        ticks: meter
            .u64_counter("nova.queue.schedule.ticks")
            .with_unit("{tick}")
            .with_description("Ticks of schedules, by whether they fired or were skipped")
            .build(),
        changes: meter
            .u64_histogram("nova.queue.commit.changes")
            .with_unit("{change}")
            .with_description("Changes of tasks that one commit wrote")
            .build(),
    }
});

fn attributes(key: &'static str, value: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("messaging.system", "nova"), KeyValue::new(key, value)]
}

/// Settlements of one kind took effect, or came too late.
pub(crate) fn settled(outcome: &'static str, count: usize) {
    if count > 0 {
        INSTRUMENTS.settled.add(count as u64, &attributes("nova.queue.outcome", outcome));
    }
}

/// A commit wrote this many changes.
pub(crate) fn committed(changes: usize) {
    INSTRUMENTS.changes.record(changes as u64, &[]);
}

/// Ticks made tasks, or were skipped; one line tells of those that were skipped in one commit.
pub(crate) fn ticked(ticks: &[Tick]) {
    let skipped = ticks.iter().filter(|tick| tick.made.is_err()).count();
    for (outcome, count) in [("fired", ticks.len() - skipped), ("skipped", skipped)] {
        if count > 0 {
            INSTRUMENTS.ticks.add(count as u64, &attributes("nova.queue.outcome", outcome));
        }
    }
    if let Some((tick, why)) = ticks.iter().find_map(|tick| Some((tick, tick.made.as_ref().err()?))) {
        let (namespace, schedule) = (&tick.key.0, &tick.key.1);
        let at = Timestamp::from_micros(tick.at);
        tracing::warn!(skipped, %namespace, %schedule, %at, %why, "ticks made no task");
    }
}
