//! Decisions that wait to be reported: bounded, and it counts what it has to drop.
//!
//! Denials have room of their own, which a flood of allowed calls cannot take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{Batch, Decided};

#[derive(Debug)]
pub(crate) struct Ring {
    capacity: usize,
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
    filled: Notify,
    denied: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    denied: VecDeque<Arc<Decided>>,
    allowed: VecDeque<Arc<Decided>>,
}

impl Ring {
    /// Room for `capacity` denials, and for as many allowed calls.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
            filled: Notify::new(),
            denied: Notify::new(),
        }
    }

    /// Adds one; the oldest of its kind gives way when there is no room.
    pub(crate) fn push(&self, decided: Decided) {
        let mut waiting = self.lock();
        let denied = !decided.allow;
        let queue = if denied { &mut waiting.denied } else { &mut waiting.allowed };
        let full = queue.len() >= self.capacity;
        if full {
            queue.pop_front();
        }
        queue.push_back(Arc::new(decided));
        drop(waiting);
        self.add_dropped(u64::from(full));
        self.filled.notify_one();
        if denied {
            self.denied.notify_one();
        }
    }

    /// Notes decisions that are not recorded.
    pub(crate) fn add_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes up to `most` decisions, denials first.
    pub(crate) fn take(&self, most: usize) -> Batch {
        let mut waiting = self.lock();
        let denied = waiting.denied.len().min(most);
        let allowed = waiting.allowed.len().min(most - denied);
        let mut decisions: Vec<_> = waiting.denied.drain(..denied).collect();
        decisions.extend(waiting.allowed.drain(..allowed));
        // Drops are told along with decisions: a report without any would be refused.
        let dropped = if decisions.is_empty() { 0 } else { self.dropped.swap(0, Ordering::Relaxed) };
        Batch { decisions, dropped }
    }

    /// Takes a batch back that was not delivered; it is older than what came since.
    pub(crate) fn give_back(&self, batch: Batch) {
        let mut waiting = self.lock();
        for decided in batch.decisions.into_iter().rev() {
            let queue = if decided.allow { &mut waiting.allowed } else { &mut waiting.denied };
            queue.push_front(decided);
        }
        drop(waiting);
        self.add_dropped(batch.dropped);
        self.filled.notify_one();
    }

    /// Waits until something was added since the last wait.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until a denial was added since the last wait.
    pub(crate) async fn denied(&self) {
        self.denied.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nova_types::{DecisionId, Timestamp};

    use super::*;
    use crate::Asked;

    fn decided(allow: bool, why: &str) -> Decided {
        let time = Timestamp::from_micros(1);
        Decided {
            id: DecisionId::new(time),
            asked: Asked::default(),
            allow,
            why: why.to_owned(),
            revision: String::new(),
            time,
            elapsed: Duration::ZERO,
            trace_id: String::new(),
        }
    }

    #[test]
    fn a_flood_of_allowed_calls_does_not_push_a_denial_out() {
        let ring = Ring::new(2);
        ring.push(decided(false, "denied"));
        for why in ["one", "two", "three"] {
            ring.push(decided(true, why));
        }
        let batch = ring.take(10);
        let whys: Vec<&str> = batch.decisions.iter().map(|decided| decided.why.as_str()).collect();
        assert_eq!(whys, ["denied", "two", "three"]);
        assert_eq!(batch.dropped, 1);
    }

    #[test]
    fn drops_are_told_once() {
        let ring = Ring::new(1);
        ring.push(decided(true, "one"));
        ring.push(decided(true, "two"));
        assert_eq!(ring.take(10).dropped, 1);
        assert!(ring.take(10).is_empty());
    }
}
