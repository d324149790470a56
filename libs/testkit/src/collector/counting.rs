//! OTLP's service for spans where they are only counted: of a batch no more is read than where its spans end, so that who
//! measures with it measures little of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use nova_rpc::raw::RawCodec;
use prost::Message as _;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::LARGEST_BATCH;

/// An `ExportTraceServiceRequest`, as far as it is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    spans: Vec<Bytes>,
}

/// Adds up the spans of all batches.
#[derive(Clone, Debug)]
pub(super) struct Counting(pub(super) Arc<AtomicU64>);

impl Counting {
    fn take(&self, batch: Bytes) -> Result<Response<Bytes>, Status> {
        let batch = Batch::decode(batch).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let scopes = batch.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: usize = scopes.map(|scope| scope.spans.len()).sum();
        self.0.fetch_add(spans as u64, Ordering::Relaxed);
        // A response that refuses nothing is empty.
        Ok(Response::new(Bytes::new()))
    }
}

impl NamedService for Counting {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl UnaryService<Bytes> for Counting {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        std::future::ready(self.take(request.into_inner()))
    }
}

impl Service<http::Request<Body>> for Counting {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(RawCodec).max_decoding_message_size(LARGEST_BATCH);
            Ok(grpc.unary(this, request).await)
        })
    }
}
