//! A span as it is kept: flat, with its service.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as Wire;
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// One span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Span {
    /// 32 hex digits.
    pub(crate) trace_id: String,
    /// 16 hex digits.
    pub(crate) span_id: String,
    /// 16 hex digits; empty for a root.
    pub(crate) parent_id: String,
    /// Process that made it.
    pub(crate) service: String,
    /// Name.
    pub(crate) name: String,
    /// Start, nanoseconds since the epoch.
    pub(crate) start_ns: i64,
    /// End, nanoseconds since the epoch.
    pub(crate) end_ns: i64,
    /// Whether it ended in an error.
    pub(crate) error: bool,
    /// Attributes.
    pub(crate) attributes: Map<String, Json>,
}

/// The spans of a batch.
pub(crate) fn spans_of(batch: &ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in &batch.resource_spans {
        let attributes = resource.resource.as_ref().map(|resource| resource.attributes.as_slice());
        let service = service_of(attributes.unwrap_or_default());
        for scope in &resource.scope_spans {
            spans.extend(scope.spans.iter().map(|span| flat(span, &service)));
        }
    }
    spans
}

fn service_of(attributes: &[KeyValue]) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == "service.name");
    let name = found.and_then(|attribute| attribute.value.as_ref()).map(json);
    if let Some(Json::String(name)) = name { name } else { "unknown".to_owned() }
}

fn flat(span: &Wire, service: &str) -> Span {
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        service: service.to_owned(),
        name: span.name.clone(),
        start_ns: i64::try_from(span.start_time_unix_nano).unwrap_or(i64::MAX),
        end_ns: i64::try_from(span.end_time_unix_nano).unwrap_or(i64::MAX),
        error: span.status.as_ref().is_some_and(|status| status.code == 2),
        attributes: span
            .attributes
            .iter()
            .filter_map(|a| Some((a.key.clone(), json(a.value.as_ref()?))))
            .collect(),
    }
}

fn json(value: &AnyValue) -> Json {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone().into(),
        Some(Value::BoolValue(value)) => (*value).into(),
        Some(Value::IntValue(value)) => (*value).into(),
        Some(Value::DoubleValue(value)) => (*value).into(),
        Some(Value::ArrayValue(array)) => array.values.iter().map(json).collect(),
        _ => Json::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
