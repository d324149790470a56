//! What a handler is given beside its payload.

use std::time::Duration;

use bytes::Bytes;
use nova_client::Mesh;
use opentelemetry::Context as Trace;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claim::Claim;
use crate::layers::panic::failure_of;
use crate::reports::Reporter;
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
    pub(crate) checkpoint: Bytes,
    pub(crate) reporter: Reporter,
    pub(crate) draining: CancellationToken,
    /// Blocking work that the attempt has begun: its lease is given up only after that has ended.
    pub(crate) blocking: TaskTracker,
}

impl Context {
    /// Tells people how far the attempt is: a fraction from 0 to 1 and a note of up to 256 bytes. Returns at once; what is said
    /// in quick succession is sent as one, and the last word counts.
    pub fn progress(&self, fraction: f64, note: &str) {
        self.reporter.progress(fraction, note);
    }

    /// Leaves this, as JSON of at most 64 KiB, for the next attempt, and waits until the queue has it durably: over a broken
    /// stream, over a restart of the daemon. Fails with LEASE_LOST when the lease is gone by then, with
    /// CHECKPOINT_TOO_LARGE, and with INVALID_CHECKPOINT when it cannot be written as JSON.
    pub async fn save_checkpoint<T: Serialize + ?Sized>(&self, checkpoint: &T) -> Result<(), Failure> {
        let json = serde_json::to_vec(checkpoint);
        let json = json.map_err(|error| Failure::permanent("INVALID_CHECKPOINT", error))?;
        self.save_checkpoint_bytes(json).await
    }

    /// The same with bytes; none at all forget the checkpoint.
    pub async fn save_checkpoint_bytes(&self, checkpoint: impl Into<Bytes>) -> Result<(), Failure> {
        self.reporter.save(checkpoint.into()).await
    }

    /// What the attempts before left behind, read as JSON; none when they left nothing. What this attempt saves does not
    /// change it. Fails with INVALID_CHECKPOINT, to be tried again, when it cannot be read: another version may have written it.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        if self.checkpoint.is_empty() {
            return Ok(None);
        }
        let read = serde_json::from_slice(&self.checkpoint);
        read.map(Some).map_err(|error| Failure::new("INVALID_CHECKPOINT", error))
    }

    /// The same as bytes, empty when there is none.
    pub fn checkpoint_bytes(&self) -> &Bytes {
        &self.checkpoint
    }

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

    /// Runs what blocks, in the attempt's trace, on a thread made for that. It cannot be stopped from outside: look at
    /// [`cancellation`](Self::cancellation) now and then. A panic fails with the reason HANDLER_PANICKED.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (trace, running) = (Trace::current(), self.blocking.token());
        let work = move || {
            let attached = trace.attach();
            let answer = work();
            drop((attached, running));
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
