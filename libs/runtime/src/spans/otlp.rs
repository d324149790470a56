//! Spans as OTLP has them, written straight to bytes: one copy, where the messages of the contract would be dozens of
//! small ones for each span.
//!
//! Source: `opentelemetry/proto/trace/v1/trace.proto`. Nova's spans have no events.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, Key, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

/// Kinds of fields on the wire.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// That it is known whether the parent is of another process, and that it is.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Appends a span, as one of the spans of a `ScopeSpans`.
pub(super) fn append_span(out: &mut Vec<u8>, span: &SpanData) {
    message(out, 2, |out| {
        let context = &span.span_context;
        bytes(out, 1, &context.trace_id().to_bytes());
        bytes(out, 2, &context.span_id().to_bytes());
        text(out, 3, &context.trace_state().header());
        if span.parent_span_id != SpanId::INVALID {
            bytes(out, 4, &span.parent_span_id.to_bytes());
        }
        text(out, 5, &span.name);
        varint_field(out, 6, kind(&span.span_kind));
        nanoseconds(out, 7, span.start_time);
        nanoseconds(out, 8, span.end_time);
        for attribute in &span.attributes {
            append_attribute(out, 9, &attribute.key, &attribute.value);
        }
        varint_field(out, 10, u64::from(span.dropped_attributes_count));
        span.links.iter().for_each(|link| append_link(out, link));
        varint_field(out, 14, u64::from(span.links.dropped_count));
        append_status(out, &span.status);
        append_flags(out, 16, context, span.parent_span_is_remote);
    });
}

fn append_link(out: &mut Vec<u8>, link: &Link) {
    message(out, 13, |out| {
        let context = &link.span_context;
        bytes(out, 1, &context.trace_id().to_bytes());
        bytes(out, 2, &context.span_id().to_bytes());
        text(out, 3, &context.trace_state().header());
        for attribute in &link.attributes {
            append_attribute(out, 4, &attribute.key, &attribute.value);
        }
        varint_field(out, 5, u64::from(link.dropped_attributes_count));
        append_flags(out, 6, context, context.is_remote());
    });
}

/// Flags of a span's own context, and whether that (or its parent's, of a span) is of another process.
fn append_flags(out: &mut Vec<u8>, field: u32, context: &SpanContext, remote: bool) {
    key(out, field, FIXED32);
    let remote = if remote { PARENT_IS_REMOTE } else { 0 };
    let flags = u32::from(context.trace_flags().to_u8()) | PARENT_IS_KNOWN | remote;
    out.extend_from_slice(&flags.to_le_bytes());
}

/// Who made the spans, as the first field of a `ResourceSpans`.
pub(super) fn resource(resource: &Resource) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, 1, |out| {
        for (key, value) in resource {
            append_attribute(out, 1, key, value);
        }
    });
    out
}

/// An `ExportTraceServiceRequest` with spans that were appended one after the other.
pub(super) fn request(resource: &[u8], spans: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(resource.len() + spans.len() + 64);
    message(&mut out, 1, |out| {
        out.extend_from_slice(resource);
        message(out, 2, |out| {
            message(out, 1, |out| text(out, 1, "nova"));
            out.extend_from_slice(spans);
        });
    });
    out.into()
}

fn append_attribute(out: &mut Vec<u8>, field: u32, key: &Key, value: &Value) {
    message(out, field, |out| {
        text(out, 1, key.as_str());
        message(out, 2, |out| append_value(out, value));
    });
}

fn append_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(value) => bytes(out, 1, value.as_str().as_bytes()),
        Value::Bool(value) => present(out, 2, u64::from(*value)),
        Value::I64(value) => present(out, 3, value.cast_unsigned()),
        Value::F64(value) => {
            key(out, 4, FIXED64);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Array(array) => message(out, 5, |out| append_array(out, array)),
        other => bytes(out, 1, other.as_str().as_bytes()),
    }
}

fn append_array(out: &mut Vec<u8>, array: &Array) {
    let mut each = |value: Value| message(out, 1, |out| append_value(out, &value));
    match array {
        Array::Bool(values) => values.iter().for_each(|value| each((*value).into())),
        Array::I64(values) => values.iter().for_each(|value| each((*value).into())),
        Array::F64(values) => values.iter().for_each(|value| each((*value).into())),
        Array::String(values) => values.iter().for_each(|value| each(value.clone().into())),
        _ => {}
    }
}

fn append_status(out: &mut Vec<u8>, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => message(out, 15, |out| varint_field(out, 3, 1)),
        Status::Error { description } => message(out, 15, |out| {
            text(out, 2, description);
            varint_field(out, 3, 2);
        }),
    }
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn nanoseconds(out: &mut Vec<u8>, field: u32, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    key(out, field, FIXED64);
    out.extend_from_slice(&u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
}

/// A field that is left out when it is empty.
fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field that is left out when it is zero.
fn varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        present(out, field, value);
    }
}

fn present(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

/// A nested message. Its length goes before it, and is known after it.
fn message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, LENGTH);
    let start = out.len();
    content(out);
    let end = out.len();
    varint(out, (end - start) as u64);
    let prefix = out.len() - end;
    out[start..].rotate_right(prefix);
}

fn key(out: &mut Vec<u8>, field: u32, kind: u64) {
    varint(out, u64::from(field) << 3 | kind);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, TraceFlags, TraceId, TraceState};
    use opentelemetry::{InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
    use prost::Message as _;

    use super::*;

    fn links() -> SpanLinks {
        let (trace, id) = (TraceId::from(7_u128), SpanId::from(10_u64));
        let before = SpanContext::new(trace, id, TraceFlags::SAMPLED, true, TraceState::default());
        let mut links = SpanLinks::default();
        links.links.push(Link::new(before, vec![KeyValue::new("why", "a retry")], 1));
        links
    }

    fn span() -> SpanData {
        let (trace, id) = (TraceId::from(7_u128), SpanId::from(8_u64));
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: SpanId::from(9_u64),
            parent_span_is_remote: true,
            span_kind: SpanKind::Server,
            name: "nova.queue.v1.QueueService/Enqueue".into(),
            start_time: UNIX_EPOCH + Duration::from_nanos(1_234_567_891),
            end_time: UNIX_EPOCH + Duration::from_secs(3),
            attributes: vec![
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("empty", ""),
                KeyValue::new("negative", -1_i64),
                KeyValue::new("false", false),
                KeyValue::new("half", 0.5),
                KeyValue::new("long", "ä".repeat(20_000)),
                KeyValue::new("list", Value::Array(vec![1_i64, 300].into())),
            ],
            dropped_attributes_count: 3,
            events: SpanEvents::default(),
            links: links(),
            status: Status::error("it broke"),
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_span_reads_as_the_contract_has_it() {
        let mut spans = Vec::new();
        append_span(&mut spans, &span());
        append_span(&mut spans, &SpanData { status: Status::Unset, ..span() });
        let made_by =
            Resource::builder_empty().with_attribute(KeyValue::new("service.name", "queue")).build();
        let bytes = request(&resource(&made_by), &spans);
        let read = ExportTraceServiceRequest::decode(bytes).expect("it is a message of the contract");
        let of = &read.resource_spans[0];
        assert_eq!(of.resource.as_ref().unwrap().attributes[0].key, "service.name");
        assert_eq!(of.scope_spans[0].scope.as_ref().unwrap().name, "nova");
        assert_eq!(of.scope_spans[0].spans[0], Span::from(span()));
        assert_eq!(of.scope_spans[0].spans.len(), 2);
    }
}
