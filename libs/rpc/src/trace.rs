//! W3C trace context: joined where a call comes in, carried where one goes out.
//!
//! Source: W3C Trace Context, and OpenTelemetry's semantic conventions for RPC.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Trace id of the present span, 32 hex digits; none outside of any trace.
pub fn current_trace_id() -> Option<String> {
    let context = Span::current().context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// The present span as a `traceparent` header; none outside of any trace.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// A span as a `traceparent` header; none when it belongs to no trace.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| {
        let flags = span_context.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", span_context.trace_id(), span_context.span_id())
    })
}

/// Hangs a new span below a stored `traceparent`. Call it before the span is entered;
/// text that is no traceparent leaves the span as it is.
pub fn set_remote_parent(span: &Span, traceparent: &str) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(traceparent) {
        headers.insert("traceparent", value);
        join(span, &headers);
    }
}

/// The span of a call that came in, joined with its caller's trace.
pub(crate) fn server_span(method: &str, headers: &HeaderMap) -> Span {
    let (service, name) = method.split_once('/').unwrap_or((method, ""));
    let span = tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = name,
        rpc.grpc.status_code = field::Empty,
        otel.status_code = field::Empty,
        enduser.id = field::Empty,
    );
    join(&span, headers);
    span
}

/// The span of a call that goes out.
pub fn client_span(method: &str) -> Span {
    let (service, name) = method.split_once('/').unwrap_or((method, ""));
    tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "client",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = name,
        rpc.grpc.status_code = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// Notes the outcome of a call on its span.
pub fn record_status(span: &Span, code: i32) {
    span.record("rpc.grpc.status_code", code);
    if code != 0 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Writes the trace context of `span` into the headers of a call.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderWriter(headers));
    });
}

fn join(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderReader(headers))
    });
    if span.set_parent(parent).is_err() {
        tracing::debug!("no OpenTelemetry layer: the call keeps its own trace");
    }
}

struct HeaderReader<'a>(&'a HeaderMap);

impl Extractor for HeaderReader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeaderWriter<'a>(&'a mut HeaderMap);

impl Injector for HeaderWriter<'_> {
    fn set(&mut self, key: &str, value: String) {
        let Ok(name) = HeaderName::try_from(key) else { return };
        if let Ok(value) = HeaderValue::try_from(value) {
            self.0.insert(name, value);
        }
    }
}

/// Runs `work` without recording it: beats and other housekeeping would bury what people look for.
/// The calls that it makes are not recorded in other processes either.
pub fn unrecorded<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let (trace, span) = (TraceId::from(1_u128), SpanId::from(1_u64));
    let parent = SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::default());
    work.with_context(Context::new().with_remote_span_context(parent))
}
