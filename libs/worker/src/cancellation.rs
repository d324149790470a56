//! Why and when a handler is told to stop.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why a handler is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// The lease is gone: another worker may have the task. What the handler still answers is dropped.
    LeaseLost,
    /// Somebody cancelled the task. What the handler still answers is dropped.
    TaskCancelled,
    /// The worker drains and its grace is over: what does not complete now is handed back.
    Draining,
    /// The attempt took longer than a [`TimeoutLayer`](crate::TimeoutLayer) allows.
    TimedOut,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseLost => "the lease was lost",
            Self::TaskCancelled => "the task was cancelled",
            Self::Draining => "the worker drains",
            Self::TimedOut => "the attempt took too long",
        })
    }
}

/// Fires once, with the first reason. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellation {
    token: CancellationToken,
    reason: Arc<OnceLock<CancelReason>>,
}

impl Cancellation {
    pub(crate) fn cancel(&self, reason: CancelReason) {
        if self.reason.set(reason).is_ok() {
            self.token.cancel();
        }
    }

    pub(crate) fn reason(&self) -> Option<CancelReason> {
        self.reason.get().copied()
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits until it has fired.
    pub(crate) async fn fired(&self) -> CancelReason {
        self.token.cancelled().await;
        self.reason().expect("the reason is set before the token fires")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_reason_stays() {
        let cancellation = Cancellation::default();
        assert_eq!(cancellation.reason(), None);
        cancellation.cancel(CancelReason::LeaseLost);
        cancellation.cancel(CancelReason::Draining);
        assert_eq!(cancellation.reason(), Some(CancelReason::LeaseLost));
        assert!(cancellation.token().is_cancelled());
    }
}
