//! An OTLP collector inside the test, and what a trace must look like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Trace it belongs to, hex.
    pub trace: String,
    /// Its id, hex.
    pub id: String,
    /// Id of the span above it, hex; empty for a root.
    pub parent: String,
    /// `service.name`.
    pub service: String,
    /// Name.
    pub name: String,
}

/// Collects until it is dropped.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens, `http://127.0.0.1:port`.
    pub endpoint: String,
    received: Received,
    _runtime: Runtime,
}

#[derive(Clone, Debug, Default)]
struct Received(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When it cannot.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime for the collector");
        let received = Received::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let service = TraceServiceServer::new(received.clone()).max_decoding_message_size(64 << 20);
        runtime.spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { endpoint, received, _runtime: runtime }
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.0.lock().expect("no test panics while holding it").clone()
    }

    /// The tree of one trace.
    pub fn tree(&self, trace: &str) -> Tree {
        Tree { spans: self.spans().into_iter().filter(|span| span.trace == trace).collect() }
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = spans_of(&request.into_inner());
        self.0.lock().expect("no test panics while holding it").extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The spans of one trace.
#[derive(Clone, Debug)]
pub struct Tree {
    /// In the order in which they came.
    pub spans: Vec<Span>,
}

impl Tree {
    /// Spans without a parent.
    pub fn roots(&self) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.parent.is_empty()).collect()
    }

    /// Spans whose parent is not there.
    pub fn orphans(&self) -> Vec<&Span> {
        let ids: BTreeSet<&str> = self.spans.iter().map(|span| span.id.as_str()).collect();
        let orphaned = |span: &&Span| !span.parent.is_empty() && !ids.contains(span.parent.as_str());
        self.spans.iter().filter(orphaned).collect()
    }

    /// How many spans each service made.
    pub fn services(&self) -> BTreeMap<&str, usize> {
        let mut services = BTreeMap::new();
        for span in &self.spans {
            *services.entry(span.service.as_str()).or_default() += 1;
        }
        services
    }

    /// How many spans of this name a service made.
    pub fn count(&self, service: &str, name: &str) -> usize {
        self.spans.iter().filter(|span| span.service == service && span.name == name).count()
    }
}

fn spans_of(batch: &ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in &batch.resource_spans {
        let attributes =
            resource.resource.as_ref().map(|resource| resource.attributes.as_slice()).unwrap_or_default();
        let name = attributes.iter().find(|attribute| attribute.key == "service.name");
        let service = match name.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
            Some(Value::StringValue(name)) => name.clone(),
            _ => String::new(),
        };
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                service: service.clone(),
                name: span.name.clone(),
            });
        }
    }
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
