//! The span of an attempt: a consumer's, below the trace of whoever enqueued the task.
//!
//! Source: OpenTelemetry's semantic conventions for messaging.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tower::{BoxError, Layer, Service};
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::take_ready;
use crate::{Failure, TaskRequest, TaskService};

/// Failed attempts that are remembered, for the spans of those that follow.
const REMEMBERED: usize = 1_024;

/// Gives each attempt a span; that of a retry is linked to the attempt before it, where this worker made that one, too.
#[derive(Clone, Debug, Default)]
pub(super) struct TraceLayer(Arc<Mutex<Failed>>);

impl Layer<TaskService> for TraceLayer {
    type Service = Traced;

    fn layer(&self, inner: TaskService) -> Traced {
        Traced { inner, failed: self.clone() }
    }
}

impl TraceLayer {
    fn remember(&self, task: String, span: SpanContext) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(task, span);
    }

    fn recall(&self, task: &str) -> Option<SpanContext> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(task)
    }
}

/// The spans of attempts that failed, by task, the oldest first.
#[derive(Debug, Default)]
struct Failed(VecDeque<(String, SpanContext)>);

impl Failed {
    fn put(&mut self, task: String, span: SpanContext) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((task, span));
    }

    fn take(&mut self, task: &str) -> Option<SpanContext> {
        let found = self.0.iter().position(|(id, _)| id == task)?;
        self.0.remove(found).map(|(_, span)| span)
    }
}

/// A service whose attempts have a span each.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    inner: TaskService,
    failed: TraceLayer,
}

impl Service<TaskRequest> for Traced {
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let (span, task) = (span_of(&request.context), request.context.task.id.clone());
        if request.context.attempt > 1
            && let Some(before) = self.failed.recall(&task)
        {
            span.add_link(before);
        }
        let (mut inner, failed) = (take_ready(&mut self.inner), self.failed.clone());
        let work = async move {
            let ended = inner.call(request).await.map_err(Failure::of);
            if let Err(failure) = &ended {
                note(failure);
                failed.remember(task, Span::current().context().span().span_context().clone());
            }
            ended.map_err(Into::into)
        };
        Box::pin(work.instrument(span))
    }
}

/// Writes a failure on the attempt's span and into its log.
fn note(failure: &Failure) {
    if failure.is_release() {
        tracing::info!("a task is handed back");
        return;
    }
    let span = Span::current();
    span.record("otel.status_code", "ERROR");
    span.record("error.type", failure.reason());
    tracing::info!(reason = failure.reason(), error = failure.message(), "an attempt failed");
}

fn span_of(context: &crate::Context) -> Span {
    let task = &context.task;
    let span = tracing::info_span!(
        parent: None,
        "task",
        otel.name = format!("process {}", task.kind),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        error.r#type = field::Empty,
        messaging.system = "nova",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = task.queue,
        messaging.message.id = task.id,
        nova.task.kind = task.kind,
        nova.task.attempt = context.attempt,
        nova.run = task.metadata.get("run"),
        nova.step = task.metadata.get("step"),
    );
    nova_rpc::trace::set_remote_parent(&span, &task.traceparent);
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_attempts_are_forgotten_from_the_oldest_on() {
        let mut failed = Failed::default();
        for number in 0..=REMEMBERED {
            failed.put(number.to_string(), SpanContext::NONE);
        }
        assert!(failed.take("0").is_none() && failed.take("1").is_some() && failed.take("1").is_none());
        assert_eq!(failed.0.len(), REMEMBERED - 1);
    }
}
