//! Streams of answers: only so many at once, each at the pace of its reader.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use crate::{error::Error, record::LeaseRef, store::Store};

/// Opens streams.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    most: usize,
    room: Arc<Semaphore>,
}

impl Streams {
    /// None yet, and at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))) }
    }

    /// Both ends of a stream, with so many answers between them.
    pub(super) fn open<T>(&self, between: usize) -> Result<(Answers<T>, Outgoing<T>), Error> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let _room = room.map_err(|_| Error::TooManyStreams(self.most))?;
        let (answers, receiver) = mpsc::channel(between);
        Ok((answers, Outgoing { answers: receiver, _room }))
    }
}

/// The end that the transport takes answers from, at the pace of who reads them.
#[derive(Debug)]
pub(crate) struct Outgoing<T> {
    answers: mpsc::Receiver<Parcel<T>>,
    /// Until the transport is done with it.
    _room: OwnedSemaphorePermit,
}

/// The end that answers are put in.
pub(super) type Answers<T> = mpsc::Sender<Parcel<T>>;

impl<T> Stream for Outgoing<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.answers.poll_recv(context).map(|next| next.map(Parcel::take))
    }
}

/// An answer, and the leases in it.
#[derive(Debug)]
pub(super) struct Parcel<T> {
    answer: Result<T, Status>,
    leases: Option<Undelivered>,
}

impl<T> Parcel<T> {
    /// An answer with leases, which go back unless it is taken.
    pub(super) fn with_leases(answer: T, leases: Undelivered) -> Self {
        Self { answer: Ok(answer), leases: Some(leases) }
    }

    fn take(self) -> Result<T, Status> {
        if let Some(leases) = self.leases {
            leases.delivered();
        }
        self.answer
    }
}

impl<T> From<Result<T, Status>> for Parcel<T> {
    fn from(answer: Result<T, Status>) -> Self {
        Self { answer, leases: None }
    }
}

/// Leases that are on their way to a worker; dropped, they go back, unstarted.
#[derive(Debug)]
pub(super) struct Undelivered {
    store: Store,
    namespace: Arc<str>,
    leases: Vec<LeaseRef>,
}

impl Undelivered {
    /// Leases of a namespace.
    pub(super) fn new(store: Store, namespace: Arc<str>, leases: Vec<LeaseRef>) -> Self {
        Self { store, namespace, leases }
    }

    fn delivered(mut self) {
        self.leases.clear();
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        self.store.hand_back(&self.namespace, std::mem::take(&mut self.leases));
    }
}
