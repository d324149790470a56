//! One attempt: from the lease to what is to be told to the queue.

use std::time::Duration;

use bytes::Bytes;
use nova_proto::queue::v1::{Released, settlement};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceExt as _};

use crate::{CancelReason, Failure, TaskRequest, TaskService};

/// Calls the handler, sees to it that it stops when it must, and answers what is owed to the queue. Ends only when
/// nothing works on the task any more: to give a lease up is to say so.
///
/// `grace_over` fires when a drain has waited long enough; a handler that is told to stop has `patience` to do so.
pub(crate) async fn attempt(
    service: TaskService,
    request: TaskRequest,
    grace_over: CancellationToken,
    patience: Duration,
) -> settlement::Outcome {
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
    outcome(ended, context.cancel_reason())
}

/// A drain burns no attempts: what it cut short is handed back.
fn outcome(ended: Option<Result<Bytes, BoxError>>, cancelled: Option<CancelReason>) -> settlement::Outcome {
    match (ended, cancelled) {
        (Some(Ok(result)), _) => settlement::Outcome::Completed(result),
        (Some(Err(_)), Some(CancelReason::Draining)) | (None, _) => {
            settlement::Outcome::Released(Released::default())
        }
        (Some(Err(error)), _) => Failure::of(error).into_outcome(),
    }
}
