//! Takes batches in, stores them, and passes them on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsService;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceService;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::spans::spans_of;
use super::store::Traces;

/// How long a collector that spans are forwarded to may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The next collector.
#[derive(Clone, Debug)]
pub(crate) struct Forward(Channel);

impl Forward {
    /// Forwards to an OTLP/gRPC endpoint, such as `http://127.0.0.1:4317`.
    pub(crate) fn to(url: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("--otlp {url:?} must be a URL, such as http://127.0.0.1:4317"))?;
        Ok(Self(endpoint.timeout(PATIENCE).connect_timeout(PATIENCE).connect_lazy()))
    }
}

/// The services of the collector. A batch is answered once it is stored and passed on, so that
/// a sender that waits slows down with us and nothing piles up here.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    traces: Arc<Traces>,
    forward: Option<Forward>,
}

impl Receiver {
    pub(crate) fn new(traces: Traces, forward: Option<Forward>) -> Self {
        Self { traces: Arc::new(traces), forward }
    }

    /// Compacts the store.
    pub(crate) async fn finish(self) {
        let traces = self.traces;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || traces.prune()).await {
            tracing::warn!(%error, "old traces were not removed");
        }
    }

    async fn pass_on(&self, batch: ExportTraceServiceRequest) {
        let Some(Forward(channel)) = self.forward.clone() else { return };
        if let Err(error) = TraceServiceClient::new(channel).export(batch).await {
            tracing::warn!(%error, "spans could not be forwarded");
        }
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let batch = request.into_inner();
        let (spans, traces) = (spans_of(&batch), self.traces.clone());
        let stored = tokio::task::spawn_blocking(move || traces.insert(&spans)).await;
        stored.map_err(|_| Status::internal("the store of traces failed"))?.map_err(|error| {
            tracing::error!(%error, "spans were not stored");
            Status::unavailable("the store of traces cannot be written")
        })?;
        self.pass_on(batch).await;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if let Some(Forward(channel)) = self.forward.clone() {
            MetricsServiceClient::new(channel).export(request.into_inner()).await?;
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
