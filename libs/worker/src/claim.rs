//! What a handler and the link share of one lease: whether it is to stop, how long the lease stands, and
//! which span the work has.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::SpanContext;
use tokio::time::Instant;

use crate::cancellation::Cancellation;

/// A lease, seen from both sides. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) cancellation: Cancellation,
    until: Arc<Mutex<Instant>>,
    process: Arc<OnceLock<SpanContext>>,
}

impl Claim {
    /// A lease that stands until then.
    pub(crate) fn new(until: Instant) -> Self {
        let until = Arc::new(Mutex::new(until));
        Self { cancellation: Cancellation::default(), until, process: Arc::default() }
    }

    /// The queue has extended it.
    pub(crate) fn extend(&self, until: Instant) {
        let mut present = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *present = until.max(*present);
    }

    /// The handler's span; the first that is told counts.
    pub(crate) fn begin(&self, process: SpanContext) {
        self.process.get_or_init(|| process);
    }

    /// The span of the handler, where it has one.
    pub(crate) fn process(&self) -> Option<&SpanContext> {
        self.process.get()
    }

    /// How long it still stands; zero when nothing is certain any more.
    pub(crate) fn remaining(&self) -> Duration {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_is_only_ever_extended() {
        let now = Instant::now();
        let claim = Claim::new(now + Duration::from_secs(60));
        claim.clone().extend(now + Duration::from_secs(120));
        claim.extend(now);
        assert!(claim.remaining() > Duration::from_secs(60));
        assert_eq!(Claim::new(now).remaining(), Duration::ZERO);
    }
}
