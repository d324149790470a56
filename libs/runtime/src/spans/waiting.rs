//! Spans that wait to be sent: bounded, and what finds no place is counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Spans of a batch, unless it gets too large before.
const BATCH_SPANS: usize = 4_096;
/// Bytes of a batch: collectors take messages of 4 MiB.
const BATCH_BYTES: usize = 1 << 20;

/// Spans that are sent together, one after the other as OTLP has them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.spans >= BATCH_SPANS || self.bytes.len() >= BATCH_BYTES
    }
}

/// Batches in the order in which they were begun; the last is not complete.
#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    spans: usize,
}

#[derive(Debug)]
pub(super) struct Waiting {
    capacity: usize,
    queue: Mutex<Queue>,
    begun: Notify,
    filled: Notify,
    dropped: AtomicU64,
}

impl Waiting {
    /// Room for `capacity` spans.
    pub(super) fn new(capacity: usize) -> Self {
        let (begun, filled, dropped) = (Notify::new(), Notify::new(), AtomicU64::new(0));
        Self { capacity, queue: Mutex::default(), begun, filled, dropped }
    }

    /// Adds a span, or drops it when there is no room.
    pub(super) fn push(&self, span: &[u8]) {
        let mut queue = self.lock();
        if queue.spans >= self.capacity {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.spans += 1;
        if queue.batches.back().is_none_or(Batch::is_full) {
            queue.batches.push_back(Batch::default());
        }
        let Some(batch) = queue.batches.back_mut() else { return };
        batch.bytes.extend_from_slice(span);
        batch.spans += 1;
        let (begun, filled) = (batch.spans == 1, batch.is_full());
        drop(queue);
        if filled {
            self.filled.notify_one();
        } else if begun {
            self.begun.notify_one();
        }
    }

    /// Takes the oldest batch.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut queue = self.lock();
        let batch = queue.batches.pop_front()?;
        queue.spans -= batch.spans;
        Some(batch)
    }

    /// Spans that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until a batch is begun.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Waits until a batch is full.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_place_is_counted() {
        let waiting = Waiting::new(2);
        for span in [b"a", b"b", b"c"] {
            waiting.push(span);
        }
        let batch = waiting.take().expect("two wait");
        assert_eq!((batch.bytes.as_slice(), batch.spans, waiting.dropped()), (b"ab".as_slice(), 2, 1));
        waiting.push(b"d");
        assert_eq!(waiting.take().expect("there is room again").bytes, b"d");
        assert!(waiting.take().is_none());
    }

    #[test]
    fn a_batch_fits_into_a_message_of_any_collector() {
        let waiting = Waiting::new(100_000);
        let large = vec![0; 10_000];
        (0..200).for_each(|_| waiting.push(&large));
        (0..5_000).for_each(|_| waiting.push(b"small"));
        while let Some(batch) = waiting.take() {
            assert!(batch.bytes.len() < BATCH_BYTES + large.len() && batch.spans <= BATCH_SPANS);
        }
    }
}
