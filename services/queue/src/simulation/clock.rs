//! The clock of a simulated machine: it runs with the paused clock of the runtime, and is set by faults.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use nova_types::{Clock, Timestamp};
use tokio::time::Instant;

use crate::task::Micros;

/// When simulations begin, microseconds since the epoch.
const EPOCH: Micros = 1_700_000_000_000_000;

/// A clock that can be set.
#[derive(Debug)]
pub(super) struct SimClock {
    begun: Instant,
    set: AtomicI64,
}

impl SimClock {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), set: AtomicI64::new(0) }
    }

    pub(super) fn micros(&self) -> Micros {
        let passed = i64::try_from(self.begun.elapsed().as_micros()).unwrap();
        EPOCH + passed + self.set.load(Ordering::Relaxed)
    }

    /// Sets it forward.
    pub(super) fn forward(&self, by: Duration) {
        self.set.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// Sets it back.
    pub(super) fn back(&self, by: Duration) {
        self.set.fetch_sub(i64::try_from(by.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros())
    }
}
