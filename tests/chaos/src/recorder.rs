//! Writing a history, from as many clients as there are.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::history::{Answer, Call, History, Mark, Moment, Operation};

/// A clock: microseconds.
type Clock = dyn Fn() -> i64 + Send + Sync;

/// Writes one history; clones write the same one.
#[derive(Clone)]
pub struct Recorder {
    tape: Arc<Mutex<Tape>>,
    clock: Arc<Clock>,
}

#[derive(Debug, Default)]
struct Tape {
    history: History,
    next: u64,
}

/// A call that was begun.
#[derive(Debug)]
#[must_use = "a call ends"]
pub struct Ticket(usize);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// An empty history on a clock that tells microseconds.
    pub fn new(clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { tape: Arc::default(), clock: Arc::new(clock) }
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call before it is sent.
    pub fn begin(&self, client: u32, call: Call) -> Ticket {
        let mut tape = self.tape();
        let begin = tape.moment((self.clock)());
        let operation = Operation { client, begin, end: None, call, answer: Answer::Unknown };
        tape.history.operations.push(operation);
        Ticket(tape.history.operations.len() - 1)
    }

    /// Notes what came of it. A call that never ends stays unknown.
    pub fn end(&self, ticket: Ticket, answer: Answer) {
        let mut tape = self.tape();
        let end = tape.moment((self.clock)());
        let operation = &mut tape.history.operations[ticket.0];
        operation.end = Some(end);
        operation.answer = answer;
    }

    /// A moment between all that is noted.
    pub fn now(&self) -> Moment {
        let at = (self.clock)();
        self.tape().moment(at)
    }

    /// Notes that a daemon began to serve, or goes on after it stood still.
    pub fn restarted(&self) {
        let at = self.now();
        self.tape().history.marks.push(Mark::Restarted(at));
    }

    /// Notes that another server took over.
    pub fn failed_over(&self) {
        let at = self.now();
        self.tape().history.marks.push(Mark::FailedOver(at));
    }

    /// Notes that the clock was set; `before` is what it showed.
    pub fn clock_set(&self, before: i64) {
        let at = self.now();
        self.tape().history.marks.push(Mark::ClockSet(at, before));
    }

    /// Notes that what was acknowledged between two orders may be gone, since a third in between.
    pub fn lossy(&self, from: u64, at: u64, until: u64) {
        self.tape().history.marks.push(Mark::Lossy { from, at, until });
    }

    /// Looks at what was written so far; all clients wait meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.tape().history)
    }

    /// What was written so far.
    pub fn history(&self) -> History {
        self.tape().history.clone()
    }
}

impl Tape {
    fn moment(&mut self, at: i64) -> Moment {
        self.next += 1;
        Moment { order: self.next, at }
    }
}
