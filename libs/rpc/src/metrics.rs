//! How often a method is called, how it ends, and how long it takes.
//!
//! Names from OpenTelemetry's semantic conventions for RPC.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;

use crate::Method;

/// Bounds of the buckets, in seconds.
const BUCKETS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The instruments of a server.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    duration: Histogram<f64>,
}

impl ServerMetrics {
    /// Instruments of the global meter: create them after telemetry has started.
    pub fn new() -> Self {
        let meter = opentelemetry::global::meter("nova.rpc");
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("time from the arrival of a call to the start of its answer")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        Self { duration }
    }

    /// Counts a call; one of no method of the contracts as `_OTHER`, for its name is the caller's.
    pub(crate) fn record(&self, method: Option<&'static Method>, code: i32, elapsed: Duration) {
        let attributes = [
            KeyValue::new("rpc.method", method.map_or("_OTHER", Method::name)),
            KeyValue::new("rpc.response.status_code", i64::from(code)),
        ];
        self.duration.record(elapsed.as_secs_f64(), &attributes);
    }
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self::new()
    }
}
