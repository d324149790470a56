//! What a worker has done, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nova_proto::queue::v1::settlement;

/// What a worker did from its start to its end, in attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Results that the queue took.
    pub completed: u64,
    /// Failures that the queue took.
    pub failed: u64,
    /// Handed back: never started, cancelled by the drain, or released by their handlers.
    pub released: u64,
    /// Leases that were lost while their handlers ran, or before their outcome reached the queue.
    pub lost: u64,
    /// Tasks that somebody cancelled while this worker held them.
    pub cancelled: u64,
    /// Still held at the end: handlers that could not be stopped, and outcomes that no queue would take. Their leases expire.
    pub abandoned: u64,
}

/// The same while it grows. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    completed: AtomicU64,
    failed: AtomicU64,
    released: AtomicU64,
    lost: AtomicU64,
    cancelled: AtomicU64,
    held: AtomicU64,
}

impl Tally {
    /// The queue took an outcome.
    pub(crate) fn settled(&self, outcome: &settlement::Outcome) {
        let count = match outcome {
            settlement::Outcome::Completed(_) => &self.0.completed,
            settlement::Outcome::Failed(_) => &self.0.failed,
            settlement::Outcome::Released(_) => &self.0.released,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A lease was lost.
    pub(crate) fn lost(&self) {
        self.0.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// A task was cancelled while it was held.
    pub(crate) fn cancelled(&self) {
        self.0.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    /// So many leases are held now.
    pub(crate) fn hold(&self, leases: usize) {
        self.0.held.store(leases as u64, Ordering::Relaxed);
    }

    /// As of now.
    pub(crate) fn summary(&self) -> Summary {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Summary {
            completed: of(&self.0.completed),
            failed: of(&self.0.failed),
            released: of(&self.0.released),
            lost: of(&self.0.lost),
            cancelled: of(&self.0.cancelled),
            abandoned: of(&self.0.held),
        }
    }
}
