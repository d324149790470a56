//! Counts lives: each task that was enqueued is completed, once.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::Notify;

use super::worker_process::Done;

/// Shared by the producers and workers of a mesh.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) queue: &'static str,
    origin: Instant,
    enqueued: Count,
    completed: Count,
    /// So many completions are waited for.
    goal: AtomicU64,
    moved: Notify,
    starts: Mutex<Vec<u32>>,
}

/// How many, and which: the sum of a hash of each id.
#[derive(Debug, Default)]
pub(super) struct Count {
    tasks: AtomicU64,
    ids: AtomicU64,
}

impl Count {
    pub(super) fn add<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let of = |done: Done, id| Done { tasks: done.tasks + 1, ids: done.ids.wrapping_add(hash(id)) };
        self.add_all(&ids.fold(Done::default(), of));
    }

    fn add_all(&self, done: &Done) {
        self.ids.fetch_add(done.ids, Relaxed);
        self.tasks.fetch_add(done.tasks, Release);
    }

    /// What was added since it was last taken; none when no task was. An id may be taken before its task is, never after.
    pub(super) fn take(&self) -> Option<Done> {
        let tasks = self.tasks.swap(0, Acquire);
        (tasks > 0).then(|| Done { tasks, ids: self.ids.swap(0, Relaxed) })
    }

    fn tasks(&self) -> u64 {
        self.tasks.load(Relaxed)
    }
}

/// FNV-1a.
fn hash(id: &str) -> u64 {
    id.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Tally {
    /// Of a queue.
    pub(super) fn new(queue: &'static str) -> Self {
        Self {
            queue,
            origin: Instant::now(),
            enqueued: Count::default(),
            completed: Count::default(),
            goal: AtomicU64::new(u64::MAX),
            moved: Notify::new(),
            starts: Mutex::default(),
        }
    }

    /// Microseconds since the mesh came up.
    pub(super) fn micros_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds tasks that were acknowledged.
    pub(super) fn enqueue<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.enqueued.add(ids);
    }

    /// Adds tasks whose completion was acknowledged.
    pub(super) fn complete<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.completed.add(ids);
        self.look();
    }

    /// Wakes who waits for as many as there are now.
    fn look(&self) {
        if self.completed() >= self.goal.load(Relaxed) {
            self.moved.notify_one();
        }
    }

    /// Adds what another process tells of.
    pub(super) fn complete_all(&self, done: &Done) {
        self.completed.add_all(done);
        self.look();
    }

    /// Adds how long tasks took to arrive, microseconds.
    pub(super) fn started(&self, micros: impl Iterator<Item = u32>) {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).extend(micros);
    }

    pub(super) fn take_starts(&self) -> Vec<u32> {
        std::mem::take(&mut self.starts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn enqueued(&self) -> u64 {
        self.enqueued.tasks()
    }

    pub(super) fn completed(&self) -> u64 {
        self.completed.tasks()
    }

    /// Waits until so many are completed.
    pub(super) async fn completes(&self, goal: u64) {
        self.goal.store(goal, Relaxed);
        while self.completed() < goal {
            // A look now and then: a completion may come between the two lines.
            drop(tokio::time::timeout(Duration::from_millis(5), self.moved.notified()).await);
        }
    }

    /// Whether no more was completed than enqueued, and, once nothing stands, the same tasks, each once.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let (enqueued, completed) = (self.enqueued(), self.completed());
        ensure!(completed <= enqueued, "{completed} tasks completed of {enqueued}");
        let same = self.enqueued.ids.load(Relaxed) == self.completed.ids.load(Relaxed);
        ensure!(completed < enqueued || same, "what was completed is not what was enqueued: {self:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_completed_in_place_of_another_is_found() {
        let tally = Tally::new("q");
        tally.enqueue(["a", "b"].into_iter());
        tally.complete(["a"].into_iter());
        tally.check().unwrap();
        tally.complete(["a"].into_iter());
        assert!(tally.check().is_err());
    }
}
