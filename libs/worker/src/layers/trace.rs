//! The span of an attempt: a consumer's, below the trace of whoever enqueued the task.
//!
//! It lasts as long as the handler, but no longer than [`OPEN`]: then it is ended while the handler goes on below it. So a
//! worker that dies in the middle of a long task leaves no orphans, since the span above them was told long ago. The end
//! of a long attempt is told by its settlement.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use nova_rpc::messaging::{self, Attempt, Message};
use opentelemetry::Context as Trace;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::take_ready;
use crate::{Failure, TaskRequest, TaskService};

/// Longest that the span of an attempt is open.
const OPEN: Duration = Duration::from_secs(1);

/// Gives each attempt a span; that of a retry is linked to the attempt that failed before it, whoever made that one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TraceLayer;

impl Layer<TaskService> for TraceLayer {
    type Service = Traced;

    fn layer(&self, inner: TaskService) -> Traced {
        Traced { inner }
    }
}

/// A service whose attempts have a span each.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    inner: TaskService,
}

impl Service<TaskRequest> for Traced {
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let span = span_of(&request.context);
        let process = nova_rpc::trace::context_of(&span, &request.context.task.traceparent);
        if let Some(process) = &process {
            request.context.claim.begin(process.clone());
        }
        let inner = take_ready(&mut self.inner);
        let trace = process.map_or_else(Trace::current, |span| Trace::new().with_remote_span_context(span));
        let mut work = Box::pin(attempt(inner, request)).with_context(trace).instrument(span);
        Box::pin(async move {
            if let Ok(ended) = timeout(OPEN, &mut work).await {
                return ended;
            }
            drop(std::mem::replace(work.span_mut(), Span::none()));
            work.await
        })
    }
}

fn span_of(context: &crate::Context) -> Span {
    let task = &context.task;
    let message = Message { queue: &task.queue, id: &task.id, producer: &task.traceparent };
    let (run, step) = (task.metadata.get("run"), task.metadata.get("step"));
    let attempt = Attempt { kind: &task.kind, number: context.attempt, run, step };
    let span = messaging::process(&message, &attempt);
    if let Some(before) = nova_rpc::trace::span_context(&task.failed_traceparent) {
        span.add_link(before);
    }
    span
}

async fn attempt(mut inner: TaskService, request: TaskRequest) -> Result<Bytes, BoxError> {
    let ended = inner.call(request).await.map_err(Failure::of);
    if let Err(failure) = &ended {
        note(failure);
    }
    ended.map_err(Into::into)
}

/// Writes a failure on the attempt's span and into its log.
fn note(failure: &Failure) {
    if failure.is_release() {
        tracing::info!("a task is handed back");
        return;
    }
    messaging::fail(&Span::current(), failure.reason());
    tracing::info!(reason = failure.reason(), error = failure.message(), "an attempt failed");
}
