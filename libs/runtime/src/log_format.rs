//! The forms of a log line, for programs and for people, each with the trace it belongs to.

use std::fmt;

use nova_types::{Clock as _, SystemClock};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `{"timestamp", "level", "service", "target", "message", "trace_id", "span_id", …fields}`.
#[derive(Debug)]
pub(crate) struct JsonLines {
    pub(crate) service: &'static str,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Fields::default();
        line.put("timestamp", SystemClock.now().to_string().into());
        line.put("level", event.metadata().level().as_str().into());
        line.put("service", self.service.into());
        line.put("target", event.metadata().target().into());
        if let Some(traceparent) = nova_rpc::trace::current_traceparent() {
            let mut parts = traceparent.split('-').skip(1);
            line.put("trace_id", parts.next().unwrap_or_default().into());
            line.put("span_id", parts.next().unwrap_or_default().into());
        }
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

/// `TIMESTAMP LEVEL message field=value … trace_id=…`.
#[derive(Debug)]
pub(crate) struct HumanLines;

impl<S, N> FormatEvent<S, N> for HumanLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "{} {:>5} ", SystemClock.now(), event.metadata().level())?;
        context.format_fields(writer.by_ref(), event)?;
        if let Some(trace_id) = nova_rpc::trace::current_trace_id() {
            write!(writer, " trace_id={trace_id}")?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }
}
