//! Spans of a task's life, as those of a message: sent, received, processed, settled.
//!
//! Source: OpenTelemetry's semantic conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>). A span is named `{operation} {queue}`.
//!
//! ```text
//! send mail                producer, made by the queue: its context is stored with the task, whoever sent it
//!  ├─ receive mail         client, made by the worker and ended at once
//!  └─ process mail         consumer; that of a retry is linked to the attempt that failed
//!      ├─ …                what the handler does
//!      └─ settle mail      client, from the handler's end to the queue's answer
//! ```

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::{Span, field};

use crate::trace;

/// `messaging.system`.
pub const SYSTEM: &str = "messaging.system";
/// Its value.
pub const NOVA: &str = "nova";
/// `messaging.operation.name`: `send`, `receive`, `process` or `settle`.
pub const OPERATION_NAME: &str = "messaging.operation.name";
/// `messaging.operation.type`: the same words, as the conventions list them.
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// `messaging.destination.name`: the queue.
pub const DESTINATION: &str = "messaging.destination.name";
/// `messaging.message.id`: the task.
pub const MESSAGE_ID: &str = "messaging.message.id";
/// `messaging.batch.message_count`, where there are several.
pub const BATCH: &str = "messaging.batch.message_count";
/// `messaging.client.id`: the worker, by its name.
pub const CLIENT_ID: &str = "messaging.client.id";
/// `error.type`: the reason of a failure.
pub const ERROR_TYPE: &str = "error.type";

/// A task, as its spans tell of it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its queue.
    pub queue: &'a str,
    /// Its id.
    pub id: &'a str,
    /// `traceparent` of the span that sent it; may be empty.
    pub producer: &'a str,
}

/// How one attempt is told.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Kind of the task.
    pub kind: &'a str,
    /// From 1.
    pub number: u32,
    /// Run and step that it belongs to, if any.
    pub run: Option<&'a String>,
    /// See `run`.
    pub step: Option<&'a String>,
}

/// So many tasks are stored together, below the present span; `queue` is none, and not in the name, when they go to several.
pub fn send(queue: Option<&str>, messages: usize) -> Span {
    tracing::info_span!(
        "send",
        otel.name = name("send", queue.unwrap_or_default()),
        otel.kind = "producer",
        otel.status_code = field::Empty,
        { SYSTEM } = NOVA,
        { OPERATION_NAME } = "send",
        { OPERATION_TYPE } = "send",
        { DESTINATION } = queue,
        { MESSAGE_ID } = field::Empty,
        { BATCH } = several(messages),
        { ERROR_TYPE } = field::Empty,
    )
}

/// A worker was handed a task, together with others; made only in the trace of whoever sent it.
pub fn receive(message: &Message<'_>, together: usize, worker: &str) -> Span {
    if message.producer.is_empty() {
        return Span::none();
    }
    trace::below(message.producer, || {
        tracing::info_span!(
            "receive",
            otel.name = name("receive", message.queue),
            otel.kind = "client",
            { SYSTEM } = NOVA,
            { OPERATION_NAME } = "receive",
            { OPERATION_TYPE } = "receive",
            { DESTINATION } = message.queue,
            { MESSAGE_ID } = message.id,
            { BATCH } = several(together),
            { CLIENT_ID } = worker,
        )
    })
}

/// A handler works on a task.
pub fn process(message: &Message<'_>, attempt: &Attempt<'_>) -> Span {
    trace::below(message.producer, || {
        tracing::info_span!(
            "process",
            otel.name = name("process", message.queue),
            otel.kind = "consumer",
            otel.status_code = field::Empty,
            { SYSTEM } = NOVA,
            { OPERATION_NAME } = "process",
            { OPERATION_TYPE } = "process",
            { DESTINATION } = message.queue,
            { MESSAGE_ID } = message.id,
            { ERROR_TYPE } = field::Empty,
            nova.task.kind = attempt.kind,
            nova.task.attempt = attempt.number,
            nova.run = attempt.run,
            nova.step = attempt.step,
        )
    })
}

/// The queue is told how an attempt ended (`complete`, `fail` or `release`); below the span that processed it.
pub fn settle(message: &Message<'_>, outcome: &str, process: &SpanContext) -> Span {
    if !process.is_sampled() {
        return Span::none();
    }
    let _attached = Context::new().with_remote_span_context(process.clone()).attach();
    tracing::info_span!(
        "settle",
        otel.name = name("settle", message.queue),
        otel.kind = "client",
        otel.status_code = field::Empty,
        { SYSTEM } = NOVA,
        { OPERATION_NAME } = "settle",
        { OPERATION_TYPE } = "settle",
        { DESTINATION } = message.queue,
        { MESSAGE_ID } = message.id,
        { ERROR_TYPE } = field::Empty,
        nova.task.outcome = outcome,
    )
}

/// Notes on a span that it failed.
pub fn fail(span: &Span, reason: &str) {
    span.record("otel.status_code", "ERROR");
    span.record(ERROR_TYPE, reason);
}

fn name(operation: &str, queue: &str) -> String {
    if queue.is_empty() { operation.to_owned() } else { format!("{operation} {queue}") }
}

/// The conventions want no count of one.
fn several(messages: usize) -> Option<u64> {
    (messages > 1).then_some(messages as u64)
}
