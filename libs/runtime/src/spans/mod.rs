//! Spans on their way to the collector.
//!
//! A span is written as OTLP has it by the thread that ends it, and joins a batch. A task sends the batches, one after
//! the other: full ones at once, others after [`GATHERED`]. A collector that is away for a moment gets a batch again;
//! one that is slow or gone for long costs spans, which are counted, and memory for no more than are configured.

mod otlp;
mod waiting;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use nova_rpc::raw::RawCodec;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Extensions, Status};

use waiting::{Batch, Waiting};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Spans of so long go into one batch, unless it is full before.
const GATHERED: Duration = Duration::from_millis(200);
/// How long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a batch is sent to a collector that is away.
const ATTEMPTS: u32 = 4;
/// Between two log lines about dropped spans, at least.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The span processor of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Spans(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Waiting,
    exported: AtomicU64,
    failed: AtomicU64,
    stop: CancellationToken,
    stopped: Mutex<Receiver<()>>,
}

impl Spans {
    /// Sends spans to the OTLP/gRPC collector at `endpoint`, which is `shown` this with each batch, while `capacity` may
    /// wait. Call it inside the Tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "telemetry is there before the runtime's handle")]
    pub(crate) fn to(
        endpoint: &str,
        shown: MetadataMap,
        capacity: usize,
        resource: &Resource,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(endpoint.to_owned())?;
        let channel = endpoint.timeout(PATIENCE).connect_timeout(PATIENCE).connect_lazy();
        let (ended, stopped) = sync_channel(1);
        let spans = Self(Arc::new(Shared {
            waiting: Waiting::new(capacity),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stop: CancellationToken::new(),
            stopped: Mutex::new(stopped),
        }));
        let collector = Collector { grpc: Grpc::new(channel), shown, resource: otlp::resource(resource) };
        tokio::spawn(spans.clone().send(collector, ended));
        Ok(spans)
    }

    /// Shows the counts as metrics. Names from OpenTelemetry's semantic conventions for its SDK.
    pub(crate) fn count_in(&self, meter: &opentelemetry::metrics::Meter) {
        let (processed, exported) = (self.clone(), self.clone());
        let error = |kind: &'static str| [KeyValue::new("error.type", kind)];
        meter
            .u64_observable_counter("otel.sdk.processor.span.processed")
            .with_description("spans handed to the exporter, or dropped because too many waited")
            .with_callback(move |counter| {
                counter.observe(processed.exported() + processed.failed(), &[]);
                counter.observe(processed.0.waiting.dropped(), &error("queue_full"));
            })
            .build();
        meter
            .u64_observable_counter("otel.sdk.exporter.span.exported")
            .with_description("spans that the collector took, or that it did not take")
            .with_callback(move |counter| {
                counter.observe(exported.exported(), &[]);
                counter.observe(exported.failed(), &error("rejected"));
            })
            .build();
    }

    fn exported(&self) -> u64 {
        self.0.exported.load(Ordering::Relaxed)
    }

    fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Sends batches until it is told to stop, and then what is left. The end of `ended` tells that it is done.
    async fn send(self, mut collector: Collector, ended: SyncSender<()>) {
        let mut warnings = Warnings::default();
        while !self.0.stop.is_cancelled() {
            tokio::select! {
                () = self.gathered() => {}
                () = self.0.stop.cancelled() => {}
            }
            while let Some(batch) = self.0.waiting.take() {
                self.send_one(&mut collector, batch).await;
            }
            warnings.tell(self.0.waiting.dropped() + self.failed());
        }
        drop(ended);
    }

    async fn gathered(&self) {
        tokio::select! {
            () = self.0.waiting.filled() => {}
            () = async {
                self.0.waiting.begun().await;
                tokio::time::sleep(GATHERED).await;
            } => {}
        }
    }

    async fn send_one(&self, collector: &mut Collector, batch: Batch) {
        let request = otlp::request(&collector.resource, &batch.bytes);
        let mut wait = Duration::from_millis(100);
        for attempt in 1..=ATTEMPTS {
            match collector.take(request.clone()).await {
                Ok(()) => {
                    self.0.exported.fetch_add(batch.spans as u64, Ordering::Relaxed);
                    return;
                }
                Err(status) => tracing::debug!(%status, attempt, "a batch of spans was not taken"),
            }
            if self.0.stop.is_cancelled() {
                break;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.0.failed.fetch_add(batch.spans as u64, Ordering::Relaxed);
    }
}

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            otlp::append_span(scratch, &span);
            self.0.waiting.push(scratch);
        });
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// Blocks: call it off the runtime's threads.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.stop.cancel();
        let stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        match stopped.recv_timeout(timeout) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(timeout)),
        }
    }
}

/// Where batches go.
struct Collector {
    grpc: Grpc<Channel>,
    shown: MetadataMap,
    resource: Vec<u8>,
}

impl Collector {
    async fn take(&mut self, request: bytes::Bytes) -> Result<(), Status> {
        let away = |error: tonic::transport::Error| Status::new(Code::Unavailable, error.to_string());
        self.grpc.ready().await.map_err(away)?;
        let path = PathAndQuery::from_static(EXPORT);
        let request = tonic::Request::from_parts(self.shown.clone(), Extensions::new(), request);
        self.grpc.unary(request, path, RawCodec).await.map(drop)
    }
}

/// Tells of dropped spans now and then.
#[derive(Debug, Default)]
struct Warnings {
    told: u64,
    last: Option<Instant>,
}

impl Warnings {
    fn tell(&mut self, dropped: u64) {
        let lately = self.last.is_some_and(|last| last.elapsed() < BETWEEN_WARNINGS);
        if dropped > self.told && !lately {
            tracing::warn!(dropped, "spans were dropped: the collector is slow or away");
            (self.told, self.last) = (dropped, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests;
