//! Streams to callers: only so many at once, each at the pace of its reader, all ended when the daemon drains.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::Error;

/// What a streaming call answers.
pub(crate) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Opens streams.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    most: usize,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Streams {
    pub(crate) fn new(most: usize, shutdown: CancellationToken) -> Self {
        Self { most, permits: Arc::new(Semaphore::new(most)), shutdown }
    }

    /// Takes the room of one stream, until it is dropped.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Error::TooManyStreams(self.most))
    }

    /// A stream of `first` and then of what `next` gives, batch by batch, until it gives none. Nothing is read ahead:
    /// a batch is asked for when the reader has taken the one before.
    pub(crate) fn open<T, S, N, F>(
        &self,
        permit: OwnedSemaphorePermit,
        first: Vec<T>,
        state: S,
        next: N,
    ) -> ResponseStream<T>
    where
        T: Send + 'static,
        S: Send + 'static,
        N: Fn(S) -> F + Send + 'static,
        F: Future<Output = Option<(Vec<T>, S)>> + Send + 'static,
    {
        let held = (VecDeque::from(first), state, next, permit);
        let items = stream::unfold(held, |(mut batch, mut state, next, permit)| async move {
            loop {
                if let Some(item) = batch.pop_front() {
                    return Some((Ok(item), (batch, state, next, permit)));
                }
                let (items, after) = next(state).await?;
                (batch, state) = (VecDeque::from(items), after);
            }
        });
        Box::pin(items.take_until(self.shutdown.clone().cancelled_owned()))
    }
}
