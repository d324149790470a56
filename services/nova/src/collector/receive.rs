//! Takes batches in, stores them, and hands them on.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsService;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceService;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::{Request, Response, Status};

use super::forward::Forward;
use super::spans::spans_of;
use super::store::Traces;

/// The services of the collector. A batch is answered once it is stored; passing it on is not waited for.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    traces: Arc<Traces>,
    forward: Option<Forward>,
}

impl Receiver {
    pub(crate) fn new(traces: Traces, forward: Option<Forward>) -> Self {
        Self { traces: Arc::new(traces), forward }
    }

    /// Removes what is beyond the bound of the store, and passes on what waits.
    pub(crate) async fn finish(self) {
        if let Some(forward) = self.forward {
            forward.finish().await;
        }
        let traces = self.traces;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || traces.prune()).await {
            tracing::warn!(%error, "old traces were not removed");
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
        if let Some(forward) = &self.forward {
            forward.spans(batch);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if let Some(forward) = &self.forward {
            forward.metrics(request.into_inner());
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
