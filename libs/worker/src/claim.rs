//! What a handler and the link share of one lease: whether it is to stop, and how long the lease stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cancellation::Cancellation;

/// A lease, seen from both sides. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) cancellation: Cancellation,
    until: Arc<Mutex<Instant>>,
}

impl Claim {
    /// A lease that stands until then.
    pub(crate) fn new(until: Instant) -> Self {
        Self { cancellation: Cancellation::default(), until: Arc::new(Mutex::new(until)) }
    }

    /// The queue has extended it.
    pub(crate) fn extend(&self, until: Instant) {
        let mut present = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *present = until.max(*present);
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
