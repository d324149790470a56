//! Interpreters of one revision, about one per thread.
//!
//! An interpreter is not for sharing: its syntax tree is full of reference counts, which
//! threads that evaluate the same one take from each other. So each slot compiles its own
//! at its first use, and a thread goes to its own slot first.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::Snapshot;
use crate::compile::{self, CompileError, Load};

/// More would cost memory for little: decisions are short.
const MOST: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

type Slot = Mutex<Option<regorus::Engine>>;

pub(crate) struct Evaluators {
    snapshot: Arc<Snapshot>,
    limit: Duration,
    slots: Vec<Slot>,
}

impl Evaluators {
    /// Compiles the revision once, so that a bad one is known now.
    pub(crate) fn new(snapshot: Arc<Snapshot>, limit: Duration) -> Result<Self, CompileError> {
        let first = compile::load(&snapshot, Load::Deciding, limit)?;
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let slots: Vec<Slot> = (0..count).map(|_| Slot::default()).collect();
        let evaluators = Self { snapshot, limit, slots };
        *evaluators.lock() = Some(first);
        Ok(evaluators)
    }

    /// Runs `evaluate` with an interpreter that nobody else uses meanwhile.
    pub(crate) fn with<T>(
        &self,
        evaluate: impl FnOnce(&mut regorus::Engine) -> T,
    ) -> Result<T, CompileError> {
        let mut slot = self.lock();
        if let Some(engine) = slot.as_mut() {
            return Ok(evaluate(engine));
        }
        let engine = compile::load(&self.snapshot, Load::Deciding, self.limit)?;
        Ok(evaluate(slot.insert(engine)))
    }

    /// The thread's own slot, else any free one, else the own one when it becomes free.
    fn lock(&self) -> MutexGuard<'_, Option<regorus::Engine>> {
        let own = THREAD.with(|thread| *thread);
        for offset in 0..self.slots.len() {
            match self.slots[(own + offset) % self.slots.len()].try_lock() {
                Ok(slot) => return slot,
                Err(TryLockError::Poisoned(slot)) => return emptied(slot.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.slots[own % self.slots.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interpreter that broke off in the middle is not used again.
fn emptied(mut slot: MutexGuard<'_, Option<regorus::Engine>>) -> MutexGuard<'_, Option<regorus::Engine>> {
    *slot = None;
    slot
}

impl fmt::Debug for Evaluators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluators").field("revision", &self.snapshot.revision()).finish_non_exhaustive()
    }
}
