//! How deep the queues are and how old their oldest task is, as gauges.
//!
//! Names follow OpenTelemetry's messaging conventions where they have one: the destination is the queue. Only the
//! first [`NAMED`] queues are told by name, all others together as `other`, so that queues cannot multiply series.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nova_types::Clock;
use opentelemetry::{KeyValue, global, metrics::AsyncInstrument};

use crate::{
    record::Depth,
    store::Store,
    task::{Micros, span},
};

/// Queues that are told by name.
const NAMED: usize = 100;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(10);

/// What was seen last, and when.
#[derive(Debug, Default)]
struct Seen {
    depths: Vec<Depth>,
    at: Micros,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(|| {
    let meter = global::meter("nova-queue");
    meter
        .u64_observable_gauge("nova.queue.depth")
        .with_unit("{message}")
        .with_description("Tasks of a queue that have not ended, by state")
        .with_callback(observe_depths)
        .build();
    meter
        .f64_observable_gauge("nova.queue.oldest.age")
        .with_unit("s")
        .with_description("How long the oldest ready task of a queue has been ready")
        .with_callback(observe_ages)
        .build();
    Mutex::default()
});

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the queues again and again. A daemon that does not lead tells nothing.
pub(crate) async fn follow(store: Store, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let depths = store.depths(NAMED).await.unwrap_or_default();
        *seen() = Seen { depths, at: clock.now().micros() };
    }
}

fn observe_depths(gauge: &dyn AsyncInstrument<u64>) {
    for depth in &seen().depths {
        for (state, count) in [("waiting", depth.waiting), ("ready", depth.ready), ("leased", depth.leased)] {
            let mut attributes = attributes(depth);
            attributes.push(KeyValue::new("nova.queue.state", state));
            gauge.observe(count, &attributes);
        }
    }
}

fn observe_ages(gauge: &dyn AsyncInstrument<f64>) {
    let seen = seen();
    for depth in &seen.depths {
        let age = depth.oldest_ready.map_or(Duration::ZERO, |at| span(seen.at - at));
        gauge.observe(age.as_secs_f64(), &attributes(depth));
    }
}

fn attributes(depth: &Depth) -> Vec<KeyValue> {
    let system = KeyValue::new("messaging.system", "nova");
    let destination = "messaging.destination.name";
    match &depth.name {
        Some((namespace, queue)) => vec![
            system,
            KeyValue::new("nova.namespace", Arc::clone(namespace)),
            KeyValue::new(destination, Arc::clone(queue)),
        ],
        None => vec![system, KeyValue::new(destination, "other")],
    }
}
