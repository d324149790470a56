//! The newest events in memory, so that a watch that keeps up never reads the file.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use crate::record::{Cursor, TaskEvent};

/// Most events held.
const EVENTS: usize = 8_192;

/// Most bytes of results and histories held.
const BYTES: usize = 8 << 20;

/// Most events that one read looks at, so that it holds up nobody who publishes.
const LOOK: usize = 1_024;

/// Tells which events a reader wants.
pub(crate) type Wanted<'a> = &'a (dyn Fn(&TaskEvent) -> bool + Sync);

/// Some events of the log.
#[derive(Debug)]
pub(crate) struct Passage {
    /// Those that were wanted, oldest first.
    pub(crate) events: Vec<TaskEvent>,
    /// Where to go on.
    pub(crate) reached: Cursor,
}

#[derive(Debug)]
struct Recent {
    events: VecDeque<TaskEvent>,
    bytes: usize,
    start: u64,
}

/// The newest events, and the news that there are some.
#[derive(Debug)]
pub(crate) struct Ring {
    recent: Mutex<Recent>,
    floor: AtomicU64,
    news: watch::Sender<Cursor>,
}

impl Ring {
    /// An empty ring after entry `head`; watches may resume after `floor`.
    pub(crate) fn new(head: u64, floor: u64) -> Self {
        let recent = Recent { events: VecDeque::new(), bytes: 0, start: head };
        let news = watch::Sender::new(Cursor(head, 0));
        Self { recent: Mutex::new(recent), floor: AtomicU64::new(floor), news }
    }

    /// Publishes the events of a commit whose last entry is `head`.
    pub(crate) fn publish(&self, events: Vec<TaskEvent>, head: u64, floor: u64) {
        {
            let mut recent = self.recent();
            for event in events {
                recent.bytes += size(&event);
                recent.events.push_back(event);
            }
            while recent.events.len() > EVENTS || recent.bytes > BYTES {
                let Some(oldest) = recent.events.pop_front() else { break };
                recent.bytes -= size(&oldest);
                recent.start = oldest.cursor.0;
            }
        }
        self.floor.store(floor, Ordering::Release);
        self.news.send_replace(Cursor(head, 0));
    }

    /// Forgets what it holds: from now on the file tells what happened until `head`.
    pub(crate) fn reset(&self, head: u64, floor: u64) {
        *self.recent() = Recent { events: VecDeque::new(), bytes: 0, start: head };
        self.floor.store(floor, Ordering::Release);
        self.news.send_replace(Cursor(head, 0));
    }

    /// Up to `limit` events after `after` that are wanted; nothing when the ring does not reach back so far. What is
    /// not wanted is not even copied: a watch costs little beside the tasks of others.
    pub(crate) fn after(&self, after: Cursor, limit: usize, wanted: Wanted<'_>) -> Option<Passage> {
        let recent = self.recent();
        if after.0 < recent.start {
            return None;
        }
        let from = recent.events.partition_point(|event| event.cursor <= after);
        let mut passage = Passage { events: Vec::new(), reached: after };
        for event in recent.events.range(from..).take(LOOK) {
            if passage.events.len() == limit {
                break;
            }
            passage.reached = event.cursor;
            passage.events.extend(wanted(event).then(|| event.clone()));
        }
        Some(passage)
    }

    /// Watches may resume only after this entry.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// The newest entry.
    pub(crate) fn head(&self) -> Cursor {
        *self.news.borrow()
    }

    /// Changes with every commit.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Cursor> {
        self.news.subscribe()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(event: &TaskEvent) -> usize {
    let result = event.task.result.as_ref().map_or(0, |result| result.len());
    let history = event.task.status.trail.as_ref().map_or(0, |trail| size_of_val(&*trail.history));
    result + history
}
