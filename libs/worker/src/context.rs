//! What a handler is given beside its payload.

use std::time::Duration;

use nova_client::Mesh;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::claim::Claim;
use crate::layers::panic::failure_of;
use crate::{CancelReason, Failure, Task};

/// A handler's surroundings. Clones share them.
#[derive(Clone, Debug)]
pub struct Context {
    /// The task.
    pub task: Task,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Fencing token of the lease: it only grows. Hand it to what you write to, and let that refuse a smaller one.
    pub token: u64,
    /// Clients of the mesh; calls are made under the attempt's span and under the lease: daemons refuse them with
    /// LEASE_LOST once it is lost.
    pub mesh: Mesh,
    /// What layers leave for the handler, by type.
    pub extensions: http::Extensions,
    pub(crate) claim: Claim,
    pub(crate) draining: CancellationToken,
    /// Blocking work that the attempt has begun: its lease is given up only after that has ended.
    pub(crate) blocking: TaskTracker,
}

impl Context {
    /// Fires when the handler is to stop; it has the worker's stop timeout to do so, then it is dropped.
    pub fn cancellation(&self) -> &CancellationToken {
        self.claim.cancellation.token()
    }

    /// Waits until the handler is to stop, and tells why.
    pub async fn cancelled(&self) -> CancelReason {
        self.claim.cancellation.fired().await
    }

    /// Why the handler is to stop; none while it may go on.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.claim.cancellation.reason()
    }

    /// How long the lease stands for certain, counted from the last heartbeat that the queue answered; zero when none was
    /// for a whole lease. The worker cannot know then whether another has the task: the handler may go on, since an outage
    /// costs no attempt, but what cannot be repeated should wait.
    pub fn lease_remaining(&self) -> Duration {
        self.claim.remaining()
    }

    /// Fires as soon as the worker drains, before the grace that running handlers have: what can end early, should.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// True when the queue will not try again if this attempt fails.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.task.max_attempts
    }

    /// The attempt's span as a W3C `traceparent`, for what is called beside the mesh; none outside of any trace.
    pub fn traceparent(&self) -> Option<String> {
        nova_rpc::trace::current_traceparent()
    }

    /// Runs what blocks, under the attempt's span, on a thread made for that. It cannot be stopped from outside: look at
    /// [`cancellation`](Self::cancellation) now and then. A panic fails with the reason HANDLER_PANICKED.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (span, running) = (Span::current(), self.blocking.token());
        let work = move || {
            let answer = span.in_scope(work);
            drop(running);
            answer
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => answer,
            Err(error) => Err(error.try_into_panic().map_or_else(
                |error| Failure::new("HANDLER_CANCELLED", error),
                |panic| failure_of(panic.as_ref()),
            )),
        }
    }
}
