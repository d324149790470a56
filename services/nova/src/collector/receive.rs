//! Takes batches in, stores them, and hands them on. Batches of spans stay the bytes that they came as: what nobody
//! looks at is not decoded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use nova_rpc::raw::RawCodec;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsService;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::LARGEST_BATCH;
use super::forward::Forward;
use super::store::Traces;

/// The services of the collector. A batch is answered once it is stored; passing it on is not waited for.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    traces: Arc<Traces>,
    forward: Option<Forward>,
}

impl Receiver {
    pub(crate) fn new(traces: Arc<Traces>, forward: Option<Forward>) -> Self {
        Self { traces, forward }
    }

    /// Passes on what waits.
    pub(crate) async fn finish(self) {
        if let Some(forward) = self.forward {
            forward.finish().await;
        }
    }

    async fn take(self, batch: Bytes) -> Result<Response<Bytes>, Status> {
        let (traces, stored) = (self.traces.clone(), batch.clone());
        let stored = tokio::task::spawn_blocking(move || traces.insert(&stored)).await;
        stored.map_err(|_| Status::internal("the store of traces failed"))?.map_err(|error| {
            tracing::error!(%error, "spans were not stored");
            Status::unavailable("the store of traces cannot be written")
        })?;
        if let Some(forward) = &self.forward {
            forward.spans(batch);
        }
        // An `ExportTraceServiceResponse` that refuses nothing is empty.
        Ok(Response::new(Bytes::new()))
    }
}

/// OTLP's service for spans, with the bytes of a batch in place of its message.
#[derive(Clone, Debug)]
pub(crate) struct TraceService(pub(crate) Receiver);

impl NamedService for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl UnaryService<Bytes> for TraceService {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(self.0.clone().take(request.into_inner()))
    }
}

impl Service<http::Request<Body>> for TraceService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if !request.uri().path().ends_with("/Export") {
                return Ok(Status::unimplemented("there is Export").into_http());
            }
            let mut grpc = Grpc::new(RawCodec).max_decoding_message_size(LARGEST_BATCH);
            Ok(grpc.unary(this, request).await)
        })
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
