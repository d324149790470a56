//! What the core counts of each queue, shown as metrics: how deep queues are, what was sent and consumed, and how long
//! waits and runs took.
//!
//! Names follow OpenTelemetry's messaging conventions where they have one: the destination is the queue. Only the
//! first [`NAMED`] queues are told by name, all others together as `other`, so that queues cannot multiply series.
//! Nothing here is told of a single task: the core is looked at now and then.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nova_rpc::messaging::{DESTINATION, NOVA, OPERATION_NAME, SYSTEM};
use nova_runtime::{Runtime, Series};
use nova_types::Clock;
use opentelemetry::{KeyValue, global, metrics::AsyncInstrument};

use crate::{
    figures::{Figures, Histogram},
    store::Store,
    task::{Micros, span},
};

/// Queues that are told by name.
const NAMED: usize = 100;

/// State of a task.
const STATE: &str = "nova.queue.state";

/// How an attempt ended.
const OUTCOME: &str = "nova.queue.outcome";

/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(10);

/// What was seen last, and when.
#[derive(Debug, Default)]
struct Seen {
    figures: Vec<Figures>,
    at: Micros,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(|| {
    let meter = global::meter("nova-queue");
    meter
        .u64_observable_gauge("nova.queue.depth")
        .with_unit("{message}")
        .with_description("Tasks of a queue by state, with those that ended and are kept")
        .with_callback(observe_depths)
        .build();
    meter
        .f64_observable_gauge("nova.queue.oldest.age")
        .with_unit("s")
        .with_description("How long the oldest ready task of a queue has been ready")
        .with_callback(observe_ages)
        .build();
    let counter = |name: &'static str, what: &'static str| {
        meter.u64_observable_counter(name).with_unit("{message}").with_description(what)
    };
    counter("messaging.client.sent.messages", "Tasks that were stored in a queue")
        .with_callback(|counter| {
            observe_counts(counter, OPERATION_NAME, |seen| [("send", seen.counts.enqueued)])
        })
        .build();
    counter("messaging.client.consumed.messages", "Leases that were given of a queue")
        .with_callback(|counter| {
            observe_counts(counter, OPERATION_NAME, |seen| [("receive", seen.counts.started)])
        })
        .build();
    counter("nova.queue.ended.messages", "Tasks of a queue that ended, by the state in which")
        .with_callback(|counter| observe_counts(counter, STATE, |seen| seen.counts.ended()))
        .build();
    meter
        .u64_observable_counter("nova.queue.attempts")
        .with_unit("{attempt}")
        .with_description("Attempts at tasks of a queue that ended and were not handed back, by how")
        .with_callback(|counter| observe_counts(counter, OUTCOME, |seen| seen.counts.attempts()))
        .build();
    Mutex::default()
});

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the histograms on the daemon's page.
pub(crate) fn show_histograms(runtime: &Runtime) {
    runtime.observe_histogram(
        "nova_queue_wait_duration_seconds",
        "How long tasks of a queue were ready until they were leased",
        || seen().figures.iter().map(|figures| series(figures, &figures.wait)).collect(),
    );
    runtime.observe_histogram(
        "nova_queue_run_duration_seconds",
        "How long tasks of a queue were leased until they were completed",
        || seen().figures.iter().map(|figures| series(figures, &figures.run)).collect(),
    );
}

/// Looks at the queues again and again. A daemon that does not lead tells nothing.
pub(crate) async fn follow(store: Store, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let figures = store.figures(NAMED).await.unwrap_or_default();
        *seen() = Seen { figures, at: clock.now().micros() };
    }
}

fn observe_depths(gauge: &dyn AsyncInstrument<u64>) {
    observe_counts(gauge, STATE, Figures::by_state);
}

fn observe_ages(gauge: &dyn AsyncInstrument<f64>) {
    let seen = seen();
    for figures in &seen.figures {
        let age = figures.stats.oldest_ready.map_or(Duration::ZERO, |at| span(seen.at - at));
        gauge.observe(age.as_secs_f64(), &attributes(figures, []));
    }
}

/// Observes counts of each queue, told apart by the values of `key`.
fn observe_counts<const N: usize>(
    counter: &dyn AsyncInstrument<u64>,
    key: &'static str,
    counts: impl Fn(&Figures) -> [(&'static str, u64); N],
) {
    for figures in &seen().figures {
        for (value, count) in counts(figures) {
            counter.observe(count, &attributes(figures, [KeyValue::new(key, value)]));
        }
    }
}

fn series(figures: &Figures, histogram: &Histogram) -> Series {
    Series {
        attributes: attributes(figures, []),
        buckets: histogram.at_most().map(|(bound, count)| (bound.as_secs_f64(), count)).collect(),
        count: histogram.count(),
        sum: histogram.sum().as_secs_f64(),
    }
}

fn attributes(figures: &Figures, more: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new(SYSTEM, NOVA)];
    match &figures.name {
        Some((namespace, queue)) => attributes.extend([
            KeyValue::new("nova.namespace", Arc::clone(namespace)),
            KeyValue::new(DESTINATION, Arc::clone(queue)),
        ]),
        None => attributes.push(KeyValue::new(DESTINATION, "other")),
    }
    attributes.extend(more);
    attributes
}
