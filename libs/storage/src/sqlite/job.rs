//! One caller's write: a closure, what it answered, and where the answer goes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::Error;

/// A write whose types are erased, so that writes of all callers fit one channel.
pub(super) trait Job: Send {
    /// Runs the closure. False when it failed: what it wrote has to be undone.
    fn apply(&mut self, connection: &Connection) -> bool;
    /// Answers the caller: with the closure's result if the group was committed.
    fn reply(self: Box<Self>, committed: Result<(), Error>);
}

/// The write of one call of `Database::write`.
pub(super) struct Write<F, N, T, E> {
    closure: Option<F>,
    /// Runs after the commit and before the caller hears of it.
    then: N,
    outcome: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, N, T, E> Write<F, N, T, E> {
    pub(super) fn new(closure: F, then: N) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { closure: Some(closure), then, outcome: None, answer }, receiver)
    }
}

impl<F, N, T, E> Job for Write<F, N, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    N: FnOnce(&T) + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn apply(&mut self, connection: &Connection) -> bool {
        let closure = self.closure.take().expect("the writer applies a job once");
        // A panic is one caller's fault: the thread and the other callers of the group go on. Nothing
        // broken is seen afterwards, since the closure is consumed and its savepoint is rolled back.
        let outcome = catch_unwind(AssertUnwindSafe(|| closure(connection)))
            .unwrap_or_else(|_| Err(Error::Panicked.into()));
        let kept = outcome.is_ok();
        self.outcome = Some(outcome);
        kept
    }

    fn reply(self: Box<Self>, committed: Result<(), Error>) {
        let Self { then, outcome, answer, .. } = *self;
        let result = match (outcome, committed) {
            (Some(Ok(value)), Ok(())) => {
                then(&value);
                Ok(value)
            }
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(Error::Closed.into()),
        };
        // A caller that no longer waits has dropped its end; the write stands all the same.
        answer.send(result).ok();
    }
}
