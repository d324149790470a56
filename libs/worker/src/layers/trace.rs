//! The span of an attempt: a consumer's, below the trace of whoever enqueued the task.
//!
//! Source: OpenTelemetry's semantic conventions for messaging.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use tower::{BoxError, Service};
use tracing::{Instrument as _, Span, field};

use super::take_ready;
use crate::{Failure, TaskRequest, TaskService};

/// A service whose attempts have a span each.
#[derive(Clone, Debug)]
pub(super) struct Traced(TaskService);

impl Traced {
    pub(super) fn new(inner: TaskService) -> Self {
        Self(inner)
    }
}

impl Service<TaskRequest> for Traced {
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let span = span_of(&request.context);
        let mut inner = take_ready(&mut self.0);
        let work = async move {
            let ended = inner.call(request).await.map_err(Failure::of);
            if let Err(failure) = &ended {
                note(failure);
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
