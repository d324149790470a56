//! How many attempts there are, how they end, and how long they take.
//!
//! Names from OpenTelemetry's semantic conventions for messaging.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use nova_rpc::messaging;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, UpDownCounter};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::take_ready;
use crate::{Failure, Task, TaskRequest, TaskService};

/// Bounds of the buckets, in seconds.
const BUCKETS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

/// Instruments of the global meter: create them after telemetry has started.
#[derive(Clone, Debug)]
pub(super) struct MetricsLayer {
    duration: Histogram<f64>,
    running: UpDownCounter<i64>,
}

impl MetricsLayer {
    pub(super) fn new() -> Self {
        let meter = opentelemetry::global::meter("nova.worker");
        let duration = meter
            .f64_histogram("messaging.process.duration")
            .with_unit("s")
            .with_description("time of an attempt, from its start to its outcome")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        let running = meter
            .i64_up_down_counter("nova.worker.attempts.active")
            .with_unit("{attempt}")
            .with_description("attempts that run now")
            .build();
        Self { duration, running }
    }

    fn record(&self, mut attributes: Vec<KeyValue>, elapsed: Duration, error: Option<&str>) {
        if let Some(reason) = error {
            attributes.push(KeyValue::new(messaging::ERROR_TYPE, reason.to_owned()));
        }
        self.duration.record(elapsed.as_secs_f64(), &attributes);
    }
}

impl Layer<TaskService> for MetricsLayer {
    type Service = Measured;

    fn layer(&self, inner: TaskService) -> Measured {
        Measured { inner, metrics: self.clone() }
    }
}

/// A service whose attempts are measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    inner: TaskService,
    metrics: MetricsLayer,
}

impl Service<TaskRequest> for Measured {
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let (metrics, attributes) = (self.metrics.clone(), attributes(&request.context.task));
        let work = take_ready(&mut self.inner).call(request);
        Box::pin(async move {
            let began = Instant::now();
            let _active = Active::new(metrics.running.clone(), attributes.clone());
            let ended = work.await.map_err(Failure::of);
            metrics.record(attributes, began.elapsed(), ended.as_ref().err().map(Failure::reason));
            ended.map_err(Into::into)
        })
    }
}

fn attributes(task: &Task) -> Vec<KeyValue> {
    vec![
        KeyValue::new(messaging::SYSTEM, messaging::NOVA),
        KeyValue::new(messaging::OPERATION_NAME, "process"),
        KeyValue::new(messaging::DESTINATION, task.queue.clone()),
        KeyValue::new("nova.task.kind", task.kind.clone()),
    ]
}

/// Counts an attempt as long as it lives: one that is dropped ends, too.
struct Active(UpDownCounter<i64>, Vec<KeyValue>);

impl Active {
    fn new(counter: UpDownCounter<i64>, attributes: Vec<KeyValue>) -> Self {
        counter.add(1, &attributes);
        Self(counter, attributes)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.add(-1, &self.1);
    }
}
