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
    Leases(Reply<Vec<Lease>>, Arc<str>, Vec<Lease>),
    /// Of a heartbeat.
    Beats(Reply<Vec<Beat>>, Result<Vec<Beat>, Error>),
    /// Of a rare change.
    Told(Told),
    /// Of a settlement.
    Settled(Reply<Vec<Settled>>, Result<Vec<Settled>, Error>),
}

impl Answer {
    /// Tells the caller; one that is gone needs no answer, and may repeat its call.
    pub(crate) fn send(self) {
        match self {
            Self::Receipts(reply, receipts) => drop(reply.send(receipts)),
            Self::Leases(reply, _, leases) => drop(reply.send(Ok(leases))),
            Self::Beats(reply, beats) => drop(reply.send(beats)),
            Self::Told(told) => told.tell(Ok(())),
            Self::Settled(reply, settled) => drop(reply.send(settled)),
        }
    }

    /// Tells the caller that the commit failed.
    pub(crate) fn fail(self, error: &Error) {
        match self {
            Self::Receipts(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Leases(reply, ..) => drop(reply.send(Err(error.clone()))),
            Self::Beats(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Told(told) => told.tell(Err(error.clone())),
            Self::Settled(reply, _) => drop(reply.send(Err(error.clone()))),
        }
    }
}
