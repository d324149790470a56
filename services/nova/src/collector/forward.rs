//! Passes batches on to the collector that `--otlp` names, in the background: one that is slow or away
//! must not slow the mesh down. What waits is bounded; what finds no place, or is not taken, is dropped, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::PathAndQuery;
use nova_rpc::raw::RawCodec;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::store::Traces;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// How long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last batches may take when the mesh goes down.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// Batches that may wait.
const WAITING: usize = 256;

/// Batches on their way to another collector.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    waiting: mpsc::Sender<Batch>,
    lost: Arc<AtomicU64>,
    task: Arc<JoinHandle<()>>,
}

#[derive(Debug)]
enum Batch {
    /// An `ExportTraceServiceRequest`.
    Spans(Bytes),
    Metrics(ExportMetricsServiceRequest),
    /// Nothing comes after it.
    End,
}

impl Forward {
    /// Forwards to an OTLP/gRPC endpoint, such as `http://127.0.0.1:4317`. What is lost on the way is told to `traces`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the supervisor is no daemon and has no runtime to spawn on"
    )]
    pub(crate) fn to(url: &str, traces: Arc<Traces>) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("--otlp {url:?} must be a URL, such as http://127.0.0.1:4317"))?;
        let channel = endpoint.timeout(PATIENCE).connect_timeout(PATIENCE).connect_lazy();
        let (waiting, batches) = mpsc::channel(WAITING);
        let lost = Arc::<AtomicU64>::default();
        let losses = Losses { lost: lost.clone(), told: 0, traces };
        let task = Arc::new(tokio::spawn(pass_on(channel, batches, losses)));
        Ok(Self { waiting, lost, task })
    }

    /// Passes spans on, later.
    pub(crate) fn spans(&self, batch: Bytes) {
        self.put(Batch::Spans(batch));
    }

    /// Passes metrics on, later.
    pub(crate) fn metrics(&self, batch: ExportMetricsServiceRequest) {
        self.put(Batch::Metrics(batch));
    }

    fn put(&self, batch: Batch) {
        if self.waiting.try_send(batch).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(lost, "batches for the collector were dropped: it is slow or away");
        }
    }

    /// Passes on what waits, but does not wait long.
    pub(crate) async fn finish(self) {
        let passed = async {
            if self.waiting.send(Batch::End).await.is_ok() {
                self.waiting.closed().await;
            }
        };
        if tokio::time::timeout(LAST_PATIENCE, passed).await.is_err() {
            tracing::warn!("the last batches for the collector were dropped: it is slow or away");
        }
        self.task.abort();
    }
}

/// Batches that were lost, as the store of traces was told.
#[derive(Debug)]
struct Losses {
    lost: Arc<AtomicU64>,
    told: u64,
    traces: Arc<Traces>,
}

impl Losses {
    fn add_one(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Where whoever shows the mesh finds it.
    async fn tell(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost == self.told {
            return;
        }
        let traces = self.traces.clone();
        match tokio::task::spawn_blocking(move || traces.set_not_forwarded(lost)).await {
            Ok(Ok(())) => self.told = lost,
            failed => tracing::warn!(?failed, lost, "batches that were lost are not told"),
        }
    }
}

async fn pass_on(channel: Channel, mut batches: mpsc::Receiver<Batch>, mut losses: Losses) {
    let mut spans = Grpc::new(channel.clone());
    let mut metrics = MetricsServiceClient::new(channel);
    while let Some(batch) = batches.recv().await {
        let passed = match batch {
            Batch::Spans(batch) => export(&mut spans, batch).await,
            Batch::Metrics(batch) => metrics.export(batch).await.map(|_| ()),
            Batch::End => return,
        };
        if let Err(error) = passed {
            losses.add_one();
            tracing::warn!(%error, "a batch could not be passed on");
        }
        losses.tell().await;
    }
}

async fn export(spans: &mut Grpc<Channel>, batch: Bytes) -> Result<(), Status> {
    spans.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    spans.unary(Request::new(batch), PathAndQuery::from_static(EXPORT), RawCodec).await.map(drop)
}
