//! One attempt: from the lease to what is to be told to the queue.

use std::time::Duration;

use bytes::Bytes;
use nova_proto::queue::v1::{Released, settlement};
use nova_rpc::messaging::{self, Message};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceExt as _};
use tracing::Span;

use crate::{CancelReason, Context, Failure, TaskRequest, TaskService};

/// Largest result, bytes.
const RESULT: usize = 1 << 20;

/// Calls the handler, sees to it that it stops when it must, and answers what is owed to the queue, with the span of the
/// settlement. Ends only when
/// nothing works on the task any more: to give a lease up is to say so.
///
/// `grace_over` fires when a drain has waited long enough; a handler that is told to stop has `patience` to do so.
pub(crate) async fn attempt(
    service: TaskService,
    request: TaskRequest,
    grace_over: CancellationToken,
    patience: Duration,
) -> (settlement::Outcome, Span) {
    let context = request.context.clone();
    let mut work = Box::pin(service.oneshot(request));
    let ended = tokio::select! {
        biased;
        ended = &mut work => Some(ended),
        _ = context.claim.cancellation.fired() => None,
        () = grace_over.cancelled() => {
            context.claim.cancellation.cancel(CancelReason::Draining);
            None
        }
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => timeout(patience, &mut work).await.ok(),
    };
    drop(work);
    context.blocking.close();
    context.blocking.wait().await;
    let mut outcome = outcome(ended, context.cancel_reason());
    tell_span(&mut outcome, &context);
    let settling = settling(&context, &outcome);
    (outcome, settling)
}

/// A drain burns no attempts: what it cut short is handed back.
fn outcome(ended: Option<Result<Bytes, BoxError>>, cancelled: Option<CancelReason>) -> settlement::Outcome {
    match (ended, cancelled) {
        (Some(Ok(result)), _) if result.len() > RESULT => {
            let message = format!("{} bytes must be at most {RESULT}", result.len());
            Failure::permanent("INVALID_RESULT", message).into_outcome()
        }
        (Some(Ok(result)), _) => settlement::Outcome::Completed(result),
        (Some(Err(_)), Some(CancelReason::Draining)) | (None, _) => {
            settlement::Outcome::Released(Released::default())
        }
        (Some(Err(error)), _) => Failure::of(error).into_outcome(),
    }
}

/// Names the span that failed, so that the next attempt is linked to it, whoever makes that.
fn tell_span(outcome: &mut settlement::Outcome, context: &Context) {
    let process = context.claim.process().filter(|process| process.is_sampled());
    if let (settlement::Outcome::Failed(failure), Some(process)) = (outcome, process) {
        failure.traceparent = nova_rpc::trace::named(process).unwrap_or_default();
    }
}

/// The span of a settlement, which begins here and ends when the queue has answered.
fn settling(context: &Context, outcome: &settlement::Outcome) -> Span {
    let Some(process) = context.claim.process() else { return Span::none() };
    let message =
        Message { queue: &context.task.queue, id: &context.task.id, producer: &context.task.traceparent };
    let (operation, error) = match outcome {
        settlement::Outcome::Completed(_) => ("complete", None),
        settlement::Outcome::Released(_) => ("release", None),
        settlement::Outcome::Failed(failed) => ("fail", failed.error.as_ref()),
    };
    let span = messaging::settle(&message, operation, process);
    if let Some(error) = error {
        messaging::fail(&span, &error.reason);
    }
    span
}
