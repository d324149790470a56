//! Answers that wait for their commit.

use std::sync::Arc;

use crate::{
    engine::inbox::{Reply, Told},
    error::Error,
    record::{Beat, Lease, Receipt, Settled},
};

/// What a caller will be told once the commit stands.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Of an enqueue.
    Receipts(Reply<Vec<Receipt>>, Result<Vec<Receipt>, Error>),
    /// Of a lease in a namespace.
    Leases(Reply<Vec<Lease>>, Arc<str>, Result<Vec<Lease>, Error>),
    /// Of a heartbeat.
    Beats(Reply<Vec<Beat>>, Result<Vec<Beat>, Error>),
    /// Of a settlement.
    Settled(Reply<Vec<Settled>>, Result<Vec<Settled>, Error>),
    /// Of a look, or a rare change.
    Told(Told),
}

impl Answer {
    /// Tells the caller. One that is gone needs no answer, and may repeat its call; leases that it was given are handed
    /// back.
    pub(crate) fn send(self) -> Option<(Arc<str>, Vec<Lease>)> {
        match self {
            Self::Receipts(reply, receipts) => drop(reply.send(receipts)),
            Self::Leases(reply, namespace, leases) => {
                let unsent = reply.send(leases).err();
                return unsent.and_then(Result::ok).map(|leases| (namespace, leases));
            }
            Self::Beats(reply, beats) => drop(reply.send(beats)),
            Self::Settled(reply, settled) => drop(reply.send(settled)),
            Self::Told(told) => told.tell(Ok(())),
        }
        None
    }

    /// Tells the caller that the commit failed.
    pub(crate) fn fail(self, error: &Error) {
        match self {
            Self::Receipts(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Leases(reply, ..) => drop(reply.send(Err(error.clone()))),
            Self::Beats(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Settled(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Told(told) => told.tell(Err(error.clone())),
        }
    }
}
