//! How many connections a daemon has at once. Each costs memory and a descriptor before anybody knows who is there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Between two lines in the log about connections that found no place.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The places of a daemon, for all that it serves gRPC on.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    places: Arc<Semaphore>,
    refused: Mutex<Refused>,
}

/// Those that found no place since it was told last.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    told: Option<Instant>,
}

impl Connections {
    pub(crate) fn at_most(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { most, places: Arc::new(Semaphore::new(most)), refused: Mutex::default() }
    }

    /// A place, until it is dropped. None when all are taken, which the log tells now and then.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().try_acquire_owned().ok();
        if place.is_none() {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).one_more(self.most);
        }
        place
    }
}

impl Refused {
    fn one_more(&mut self, most: usize) {
        self.count += 1;
        if self.told.is_some_and(|told| told.elapsed() < BETWEEN_WARNINGS) {
            return;
        }
        tracing::warn!(
            refused = self.count,
            most,
            "connections were closed: there are as many as runtime.max_connections lets be"
        );
        *self = Self { count: 0, told: Some(Instant::now()) };
    }
}
