//! The span of an attempt: a consumer's, below the trace of whoever enqueued the task.
//!
//! It lasts as long as the handler, but no longer than [`OPEN`]: then it is ended while the handler goes on below it. So a
//! worker that dies in the middle of a long task leaves no orphans, since the span above them was told long ago. The end
//! of a long attempt is told by its settlement.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use nova_rpc::messaging::{self, Attempt, Message};
use opentelemetry::Context as Trace;
use opentelemetry::trace::{FutureExt as _, SpanContext, TraceContextExt as _};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::take_ready;
use crate::{Failure, TaskRequest, TaskService};

/// Longest that the span of an attempt is open.
const OPEN: Duration = Duration::from_secs(1);
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
        let span = self.span_of(&request.context);
        let process = nova_rpc::trace::context_of(&span, &request.context.task.traceparent);
        if let Some(process) = &process {
            request.context.claim.begin(process.clone());
        }
        let (inner, failed) = (take_ready(&mut self.inner), self.failed.clone());
        let trace = process.map_or_else(Trace::current, |span| Trace::new().with_remote_span_context(span));
        let mut work = Box::pin(attempt(inner, request, failed)).with_context(trace).instrument(span);
        Box::pin(async move {
            if let Ok(ended) = timeout(OPEN, &mut work).await {
                return ended;
            }
            drop(std::mem::replace(work.span_mut(), Span::none()));
            work.await
        })
    }
}

impl Traced {
    fn span_of(&self, context: &crate::Context) -> Span {
        let task = &context.task;
        let message = Message { queue: &task.queue, id: &task.id, producer: &task.traceparent };
        let (run, step) = (task.metadata.get("run"), task.metadata.get("step"));
        let span =
            messaging::process(&message, &Attempt { kind: &task.kind, number: context.attempt, run, step });
        if context.attempt > 1
            && let Some(before) = self.failed.recall(&task.id)
        {
            span.add_link(before);
        }
        span
    }
}

async fn attempt(
    mut inner: TaskService,
    request: TaskRequest,
    failed: TraceLayer,
) -> Result<Bytes, BoxError> {
    let (task, claim) = (request.context.task.id.clone(), request.context.claim.clone());
    let ended = inner.call(request).await.map_err(Failure::of);
    if let Err(failure) = &ended {
        note(failure);
        if let Some(process) = claim.process() {
            failed.remember(task, process.clone());
        }
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
