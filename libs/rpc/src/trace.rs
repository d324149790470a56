//! W3C trace context: joined where a call comes in, carried where one goes out.
//!
//! Source: W3C Trace Context, and OpenTelemetry's semantic conventions for RPC.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::Either;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Characters of version, trace id, span id and flags.
const FIELDS: [usize; 4] = [2, 32, 16, 2];

/// Whether calls outside of any trace may begin one that is recorded.
static BEGINS: AtomicBool = AtomicBool::new(true);

/// Says whether calls outside of any trace may begin one that is recorded. Where they may not they have a trace id all
/// the same, for logs and for the calls they make, but no span is made that nobody would see.
pub fn begin_traces(begin: bool) {
    BEGINS.store(begin, Ordering::Relaxed);
}

/// Whether a span made here can be recorded: not below a call that is not.
pub fn may_record() -> bool {
    Context::map_current(|context| !context.has_active_span() || context.span().span_context().is_sampled())
}

/// Trace id of the present span, 32 hex digits; none outside of any trace.
pub fn current_trace_id() -> Option<String> {
    Context::map_current(|context| {
        let span = context.span();
        span.span_context().is_valid().then(|| span.span_context().trace_id().to_string())
    })
}

/// The same where the trace is recorded, so that people find it; none elsewhere.
pub fn recorded_trace_id() -> Option<String> {
    may_record().then(current_trace_id).flatten()
}

/// The present span as a `traceparent` header; none outside of any trace.
pub fn current_traceparent() -> Option<String> {
    Context::map_current(traceparent)
}

/// A span as a `traceparent` header; none when it belongs to no trace.
pub fn traceparent_of(span: &Span) -> Option<String> {
    traceparent(&span.context())
}

fn traceparent(context: &Context) -> Option<String> {
    named(context.span().span_context())
}

/// A span as a `traceparent` header; none when it is in no trace.
pub fn named(span: &SpanContext) -> Option<String> {
    span.is_valid().then(|| {
        let flags = span.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
    })
}

/// Hangs a new span below a stored `traceparent`. Call it before the span is entered;
/// text that is no traceparent leaves the span as it is.
pub fn set_remote_parent(span: &Span, traceparent: &str) {
    let refused = stored(traceparent).is_some_and(|parent| span.set_parent(parent).is_err());
    if refused {
        tracing::debug!("no OpenTelemetry layer: the span is in no trace");
    }
}

/// Makes a span below a stored `traceparent`; none below one that is not recorded, and below the present span where the
/// text is no traceparent.
pub fn below(traceparent: &str, span: impl FnOnce() -> Span) -> Span {
    let Some(parent) = stored(traceparent) else { return span() };
    if !parent.span().span_context().is_sampled() {
        return Span::none();
    }
    let _attached = parent.attach();
    span()
}

/// The span that a `traceparent` names; none when the text is no traceparent.
pub fn span_context(traceparent: &str) -> Option<SpanContext> {
    let context = stored(traceparent)?.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// What happens in `span` belongs to: itself, or what it would be below where it is not recorded. None outside of any
/// trace. It does not keep the span open.
pub fn context_of(span: &Span, traceparent: &str) -> Option<SpanContext> {
    if span.is_none() {
        return span_context(traceparent);
    }
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

fn stored(traceparent: &str) -> Option<Context> {
    // The propagator takes shorter ids, too.
    if !traceparent.split('-').map(str::len).eq(FIELDS) {
        return None;
    }
    let value = HeaderValue::from_str(traceparent).ok()?;
    extract(&HeaderMap::from_iter([(TRACEPARENT, value)]))
}

/// How a call is traced, at either end.
#[derive(Debug)]
pub struct CallTrace {
    /// Trace and parent, where the call itself is not recorded.
    context: Option<Context>,
    span: Span,
}

impl CallTrace {
    /// Of a call that came in: in its caller's trace, or in a new one.
    pub fn incoming(method: &str, headers: &HeaderMap) -> Self {
        Self::below(extract(headers).or_else(unrecorded_root), || server_span(method))
    }

    /// Of a call that goes out: below the present span, or in a new trace.
    pub fn outgoing(method: &str) -> Self {
        let present = Context::map_current(|context| context.has_active_span().then(|| context.clone()));
        Self::below(present.or_else(unrecorded_root), || client_span(method))
    }

    /// The span is made where it can be recorded.
    fn below(parent: Option<Context>, span: impl FnOnce() -> Span) -> Self {
        let Some(parent) = parent else { return Self { context: None, span: span() } };
        if !parent.span().span_context().is_sampled() {
            return Self { context: Some(parent), span: Span::none() };
        }
        let _attached = parent.clone().attach();
        let span = span();
        Self { context: span.is_disabled().then_some(parent), span }
    }

    /// Writes the trace into the headers of the call.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let of_span;
        let context = match &self.context {
            Some(context) => context,
            None => {
                of_span = self.span.context();
                &of_span
            }
        };
        opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.inject_context(context, &mut HeaderWriter(headers));
        });
    }

    /// Runs the call in its trace.
    pub fn run<T>(self, call: impl Future<Output = T>) -> impl Future<Output = T> {
        match self.context {
            Some(context) => Either::Left(call.with_context(context)),
            None => Either::Right(call.instrument(self.span)),
        }
    }
}

/// A trace id for a call that nobody records and that belongs to no trace yet; none where it begins one.
fn unrecorded_root() -> Option<Context> {
    (!BEGINS.load(Ordering::Relaxed)).then(unsampled)
}

/// A trace of its own, so that logs and errors of different calls can be told apart.
fn unsampled() -> Context {
    let (trace, span) = (TraceId::from(rand::random::<u128>()), SpanId::from(rand::random::<u64>()));
    let parent = SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::default());
    Context::new().with_remote_span_context(parent)
}

fn server_span(method: &str) -> Span {
    let (service, name) = method.split_once('/').unwrap_or((method, ""));
    tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = name,
        rpc.grpc.status_code = field::Empty,
        otel.status_code = field::Empty,
        enduser.id = field::Empty,
    )
}

fn client_span(method: &str) -> Span {
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

/// The caller's context; none when it sent none that can be read.
fn extract(headers: &HeaderMap) -> Option<Context> {
    headers.get(TRACEPARENT)?;
    let context = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderReader(headers))
    });
    context.has_active_span().then_some(context)
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
    work.with_context(unsampled())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn headers(traceparent: &'static str) -> HeaderMap {
        opentelemetry::global::set_text_map_propagator(
            opentelemetry_sdk::propagation::TraceContextPropagator::new(),
        );
        HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(traceparent))])
    }

    #[tokio::test]
    async fn a_call_that_is_not_recorded_passes_its_trace_on() {
        let trace = CallTrace::incoming("nova.queue.v1.QueueService/Enqueue", &headers(CALLER));
        assert!(trace.span.is_disabled());
        let below = trace.run(async { (current_traceparent(), may_record(), CallTrace::outgoing("a.B/C")) });
        let (present, recorded, outgoing) = below.await;
        assert_eq!(present.as_deref(), Some(CALLER));
        assert!(!recorded);
        let mut passed_on = HeaderMap::new();
        outgoing.inject(&mut passed_on);
        assert_eq!(passed_on[TRACEPARENT], CALLER);
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        assert!(extract(&headers("00-nonsense")).is_none());
        assert!(span_context(CALLER).is_some());
        assert!(["", "00-1-2-03", "00-nonsense"].iter().all(|text| span_context(text).is_none()));
    }

    #[tokio::test]
    async fn work_that_is_not_to_be_recorded_makes_no_span() {
        assert!(!unrecorded(async { may_record() }).await);
        assert!(may_record());
    }

    #[tokio::test]
    async fn what_is_not_recorded_has_an_id_of_its_own_that_nobody_is_sent_to() {
        let ids = async || unrecorded(async { (current_trace_id(), recorded_trace_id()) }).await;
        let ((first, first_recorded), (second, second_recorded)) = (ids().await, ids().await);
        assert!(first.is_some() && first != second, "{first:?}");
        assert_eq!((first_recorded, second_recorded), (None, None));
    }
}
