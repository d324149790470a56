//! Counts lives: each task that was enqueued is completed, once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Lives lived, from enqueue to completion.
    pub(crate) lives: u64,
    /// From the first enqueue to the last completion.
    pub(crate) elapsed: Duration,
    /// Microseconds of each enqueue.
    pub(crate) enqueues: Vec<u32>,
    /// Microseconds from each enqueue to the arrival of the task at its worker.
    pub(crate) starts: Vec<u32>,
}

impl Outcome {
    /// Whole task lives a second.
    pub(crate) fn lives_per_second(&self) -> f64 {
        self.lives as f64 / self.elapsed.as_secs_f64()
    }
}

/// Shared by producers and workers of one load.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Queue of this load alone.
    pub(crate) queue: String,
    origin: Instant,
    enqueued: Count,
    completed: Count,
    /// Tells that all that will be enqueued is.
    closed: AtomicU64,
    moved: Notify,
    starts: Mutex<Vec<u32>>,
}

/// How many, and which: the sum of a hash of each id.
#[derive(Debug, Default)]
struct Count {
    tasks: AtomicU64,
    ids: AtomicU64,
}

impl Count {
    fn add<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let (tasks, sum) = ids.fold((0, 0_u64), |(tasks, sum), id| (tasks + 1, sum.wrapping_add(hash(id))));
        self.ids.fetch_add(sum, Relaxed);
        self.tasks.fetch_add(tasks, Relaxed);
    }

    fn is(&self, other: &Self) -> bool {
        self.tasks.load(Relaxed) == other.tasks.load(Relaxed)
            && self.ids.load(Relaxed) == other.ids.load(Relaxed)
    }
}

/// FNV-1a.
fn hash(id: &str) -> u64 {
    id.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Tally {
    pub(crate) fn new() -> Self {
        static QUEUES: AtomicU64 = AtomicU64::new(0);
        Self {
            queue: format!("bench.{}", QUEUES.fetch_add(1, Relaxed)),
            origin: Instant::now(),
            enqueued: Count::default(),
            completed: Count::default(),
            closed: AtomicU64::new(0),
            moved: Notify::new(),
            starts: Mutex::default(),
        }
    }

    /// Microseconds since the load began.
    pub(crate) fn micros_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds tasks that were acknowledged.
    pub(crate) fn enqueued<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.enqueued.add(ids);
    }

    /// Adds tasks whose completion was acknowledged.
    pub(crate) fn complete<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.completed.add(ids);
        if self.closed.load(Relaxed) > 0 {
            self.moved.notify_one();
        }
    }

    /// Adds how long tasks took to arrive, microseconds.
    pub(crate) fn started(&self, micros: impl Iterator<Item = u32>) {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).extend(micros);
    }

    pub(crate) fn take_starts(&self) -> Vec<u32> {
        std::mem::take(&mut self.starts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn completed(&self) -> u64 {
        self.completed.tasks.load(Relaxed)
    }

    /// Waits until as many are completed as were enqueued. Call it when no more will be.
    pub(crate) async fn all_done(&self) {
        self.closed.store(1, Relaxed);
        while self.completed() < self.enqueued.tasks.load(Relaxed) {
            // A look now and then: a completion may come between the two lines.
            drop(tokio::time::timeout(Duration::from_millis(5), self.moved.notified()).await);
        }
    }

    /// Whether the same tasks were enqueued and completed, each once.
    pub(crate) fn is_even(&self) -> bool {
        self.enqueued.is(&self.completed)
    }
}
