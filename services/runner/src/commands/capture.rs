//! What is kept of a stream while it is read: whoever waits for its end takes what there is when he waits no longer.

use std::io::Read;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{Event, Keep, Stream, report};

/// A stream that a thread reads.
#[derive(Debug)]
pub(super) struct Capture {
    keep: Keep,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<Reading>);

#[derive(Debug, Default)]
struct Reading {
    kept: Stream,
    ended: bool,
    /// Nobody waits any more.
    taken: bool,
}

impl Capture {
    /// Reads a stream to its end in a thread of its own; one that was not there has ended.
    pub(super) fn of(stream: Option<impl Read + Send + 'static>, keep: Keep, events: &Sender<Event>) -> Self {
        let shared = Arc::new(Shared::default());
        match stream {
            Some(stream) => {
                let (shared, events) = (shared.clone(), events.clone());
                thread::spawn(move || shared.read(stream, keep, &events));
            }
            None => shared.lock().ended = true,
        }
        Self { keep, shared }
    }

    /// What was read by now.
    pub(super) fn take(self) -> Stream {
        let mut reading = self.shared.lock();
        reading.taken = true;
        let mut kept = std::mem::take(&mut reading.kept);
        kept.unfinished = !reading.ended;
        if let Keep::Last(most) = self.keep {
            kept.shorten(most);
        }
        kept
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut stream: impl Read, keep: Keep, events: &Sender<Event>) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut reading = self.lock();
            if reading.taken {
                return;
            }
            if !reading.kept.add(&buffer[..count], keep) {
                report(events, Event::Overflow);
                break;
            }
        }
        self.lock().ended = true;
    }
}

impl Stream {
    /// Takes what was read; false when no more is to be kept.
    fn add(&mut self, read: &[u8], keep: Keep) -> bool {
        self.bytes.extend_from_slice(read);
        match keep {
            Keep::First(most) if self.bytes.len() > most => {
                self.bytes.truncate(most);
                self.dropped = true;
            }
            Keep::Last(most) if self.bytes.len() > most.saturating_mul(2) => self.shorten(most),
            Keep::First(_) | Keep::Last(_) => {}
        }
        !(self.dropped && matches!(keep, Keep::First(_)))
    }

    /// Keeps the end.
    fn shorten(&mut self, most: usize) {
        if self.bytes.len() > most {
            self.bytes.drain(..self.bytes.len() - most);
            self.dropped = true;
        }
    }
}
