//! An OTLP collector inside the test, and what a trace must look like.

mod counting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use counting::Counting;

/// Most bytes of a batch.
const LARGEST_BATCH: usize = 64 << 20;

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
    /// `client`, `server`, `producer`, `consumer` or `internal`.
    pub kind: String,
    /// Attributes that are texts or numbers, as text.
    pub attributes: BTreeMap<String, String>,
    /// Ids of the spans that it is linked to, hex.
    pub links: Vec<String>,
}

impl Span {
    /// An attribute; empty when it is not there.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// Collects until it is dropped.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens, `http://127.0.0.1:port`.
    pub endpoint: String,
    /// None: they are only counted.
    kept: Option<Received>,
    count: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

#[derive(Clone, Debug, Default)]
struct Received(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When it cannot.
    pub fn start() -> Self {
        Self::keeping(Some(Received::default()))
    }

    /// The same, but spans are only counted: for many.
    ///
    /// # Panics
    /// When it cannot.
    pub fn counting() -> Self {
        Self::keeping(None)
    }

    fn keeping(kept: Option<Received>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime for the collector");
        let count = Arc::<AtomicU64>::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        listener.set_nonblocking(true).expect("a socket can be set so");
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listening socket");
        drop(entered);
        let incoming = TcpListenerStream::new(listener);
        match kept.clone() {
            Some(kept) => {
                let service = TraceServiceServer::new(kept).max_decoding_message_size(LARGEST_BATCH);
                runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
            }
            None => {
                let service = Counting(Arc::clone(&count));
                runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
            }
        }
        Self { endpoint, kept, count, runtime: Some(runtime) }
    }

    /// The spans that came so far; none where they are only counted.
    pub fn spans(&self) -> Vec<Span> {
        let Some(Received(spans)) = &self.kept else { return Vec::new() };
        spans.lock().expect("no test panics while holding it").clone()
    }

    /// How many spans came so far.
    pub fn count(&self) -> u64 {
        match &self.kept {
            Some(Received(spans)) => spans.lock().expect("no test panics while holding it").len() as u64,
            None => self.count.load(Ordering::Relaxed),
        }
    }

    /// The tree of one trace.
    pub fn tree(&self, trace: &str) -> Tree {
        Tree { spans: self.spans().into_iter().filter(|span| span.trace == trace).collect() }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // One that is dropped by a task must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = spans_of(request.get_ref());
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

    /// The span with this id.
    pub fn span(&self, id: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.id == id)
    }

    /// Spans of one operation of messaging: `send`, `receive`, `process` or `settle`.
    pub fn operation(&self, operation: &str) -> Vec<&Span> {
        let of = |span: &&Span| span.attribute("messaging.operation.type") == operation;
        self.spans.iter().filter(of).collect()
    }

    /// Asserts that each task is told as OpenTelemetry's conventions for messaging have it: received and processed
    /// below the span that sent it, settled below the one that processed it.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn assert_messages(&self) {
        let rules =
            [("send", "producer", ""), ("receive", "client", "send"), ("process", "consumer", "send")];
        for (operation, kind, above) in rules.into_iter().chain([("settle", "client", "process")]) {
            for span in self.operation(operation) {
                let queue = span.attribute("messaging.destination.name");
                let name = format!("{operation} {queue}");
                assert_eq!((span.name.as_str(), span.kind.as_str()), (name.trim_end(), kind), "{span:?}");
                assert_eq!(span.attribute("messaging.system"), "nova", "{span:?}");
                assert_eq!(span.attribute("messaging.operation.name"), operation, "{span:?}");
                let parent = self.span(&span.parent).expect("no span is an orphan");
                let parent_is = parent.attribute("messaging.operation.type");
                assert!(above.is_empty() || parent_is == above, "{span:?} below {parent:?}");
            }
        }
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
                kind: span.kind().as_str_name().trim_start_matches("SPAN_KIND_").to_ascii_lowercase(),
                attributes: span.attributes.iter().filter_map(text_of).collect(),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            });
        }
    }
    spans
}

fn text_of(attribute: &KeyValue) -> Option<(String, String)> {
    let text = match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        _ => return None,
    };
    Some((attribute.key.clone(), text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
