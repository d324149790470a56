//! The streams that workers hold open, so that each hears at once which of its tasks were cancelled.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use crate::record::{LeaseRef, Recall};

/// Cancellations that a stream may be behind; the rest it learns with its heartbeats.
const BEHIND: usize = 1_024;

/// Every open stream of this daemon.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    by_number: HashMap<u64, mpsc::Sender<LeaseRef>>,
    last: u64,
}

/// A stream's place; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    streams: Arc<Streams>,
    /// Its number, for lease requests.
    pub(crate) number: u64,
    /// Leases that it held and whose tasks were cancelled.
    pub(crate) cancelled: mpsc::Receiver<LeaseRef>,
}

impl Streams {
    /// A place for a stream that opens.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let (sender, cancelled) = mpsc::channel(BEHIND);
        let mut open = self.open();
        open.last += 1;
        let number = open.last;
        open.by_number.insert(number, sender);
        Place { streams: Arc::clone(self), number, cancelled }
    }

    /// Tells the streams which of their tasks were cancelled.
    pub(crate) fn recall(&self, cancelled: &[Recall]) {
        let open = self.open();
        for Recall { lease, stream } in cancelled {
            let told = open.by_number.get(stream).is_none_or(|holder| holder.try_send(*lease).is_ok());
            if !told {
                tracing::debug!(task = %lease.id, "a stream is far behind: it hears of the cancellation by its heartbeat");
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.open().by_number.remove(&self.number);
    }
}
