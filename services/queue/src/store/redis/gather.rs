//! Gathering: calls that come while one is under way go down together in the next.
//!
//! Two function calls are under way at most; each carries what has gathered, up to a bound. What workers owe
//! has a way of its own that a flood of enqueues cannot fill.

use std::sync::Arc;

use nova_storage::redis::{Functions, Value};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::Error;

/// Most verbs in one function call.
const GATHER: usize = 128;

/// Function calls under way.
const UNDER_WAY: usize = 2;

/// Arguments of one verb, its letter first.
pub(super) type Args = Vec<Vec<u8>>;

/// What one verb answers.
pub(super) type Row = Vec<Vec<u8>>;

#[derive(Debug)]
struct Call {
    args: Args,
    reply: oneshot::Sender<Result<Row, Error>>,
    _bytes: OwnedSemaphorePermit,
}

/// One bounded way in.
#[derive(Debug)]
struct Lane {
    sender: mpsc::Sender<Call>,
    bytes: Arc<Semaphore>,
    most: usize,
    what: &'static str,
}

impl Lane {
    fn new(calls: usize, bytes: usize, what: &'static str) -> (Self, mpsc::Receiver<Call>) {
        let (sender, receiver) = mpsc::channel(calls);
        (Self { sender, bytes: Arc::new(Semaphore::new(bytes)), most: bytes, what }, receiver)
    }

    async fn ask(&self, args: Args) -> Result<Row, Error> {
        let size: usize = args.iter().map(Vec::len).sum();
        let size = u32::try_from(size.min(self.most)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(size);
        let bytes = bytes.map_err(|_| Error::Busy(self.what))?;
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Call { args, reply, _bytes: bytes }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy(self.what),
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Gatherer {
    requests: Lane,
    settlements: Lane,
}

/// The end that talks to Redis.
#[derive(Debug)]
pub(super) struct Gathered(Mutex<Receivers>);

#[derive(Debug)]
struct Receivers {
    requests: mpsc::Receiver<Call>,
    settlements: mpsc::Receiver<Call>,
}

/// Both ends; each way holds `calls` calls and `bytes` bytes.
pub(super) fn gatherer(calls: usize, bytes: usize) -> (Gatherer, Gathered) {
    let bytes = bytes.min(Semaphore::MAX_PERMITS);
    let (requests, from_requests) = Lane::new(calls, bytes, "tasks");
    let (settlements, from_settlements) = Lane::new(calls, bytes, "settlements");
    let receivers = Receivers { requests: from_requests, settlements: from_settlements };
    (Gatherer { requests, settlements }, Gathered(Mutex::new(receivers)))
}

impl Gatherer {
    /// Asks for tasks, leases, or a look.
    pub(super) async fn ask(&self, args: Args) -> Result<Row, Error> {
        self.requests.ask(args).await
    }

    /// Settles or extends leases.
    pub(super) async fn owe(&self, args: Args) -> Result<Row, Error> {
        self.settlements.ask(args).await
    }
}

impl Gathered {
    /// Sends what gathers until every caller's end is dropped.
    pub(super) async fn run(self, functions: Functions, head: Args) {
        let sending = (0..UNDER_WAY).map(|_| self.send_on(&functions, &head));
        futures::future::join_all(sending).await;
    }

    async fn send_on(&self, functions: &Functions, head: &Args) {
        while let Some(mut calls) = self.gather().await {
            calls.retain(|call| !call.reply.is_closed());
            if !calls.is_empty() {
                send(functions, head.clone(), calls).await;
            }
        }
    }

    async fn gather(&self) -> Option<Vec<Call>> {
        let Receivers { requests, settlements } = &mut *self.0.lock().await;
        let first = tokio::select! {
            biased;
            first = settlements.recv() => first,
            first = requests.recv() => first,
        };
        let mut calls = vec![first?];
        while calls.len() < GATHER {
            let Ok(next) = settlements.try_recv().or_else(|_| requests.try_recv()) else { break };
            calls.push(next);
        }
        Some(calls)
    }
}

/// The prefix of every key; its braces keep all of them in one slot of a cluster.
pub(super) const PREFIX: &str = "{nova-queue}:";

async fn send(functions: &Functions, mut args: Args, mut calls: Vec<Call>) {
    for call in &mut calls {
        args.append(&mut call.args);
    }
    let replies = functions.call::<Value, _, _>("batch", &[PREFIX], &args).await;
    let replies = replies.map_err(|error| Error::Store(error.to_string())).and_then(rows);
    match replies {
        Ok(rows) if rows.len() == calls.len() => {
            for (call, row) in calls.into_iter().zip(rows) {
                // A caller that is gone needs no answer.
                drop(call.reply.send(refused(row)));
            }
        }
        other => {
            let error = other.err().unwrap_or_else(damaged);
            for call in calls {
                drop(call.reply.send(Err(error.clone())));
            }
        }
    }
}

fn damaged() -> Error {
    Error::Store("redis answered what the queue does not understand".into())
}

fn rows(replies: Value) -> Result<Vec<Row>, Error> {
    let Value::Array(replies) = replies else { return Err(damaged()) };
    replies.into_iter().map(row).collect()
}

fn row(reply: Value) -> Result<Row, Error> {
    let Value::Array(values) = reply else { return Err(damaged()) };
    let bytes = |value| match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(damaged()),
    };
    values.into_iter().map(bytes).collect()
}

/// Refusals that need no context; the others are told apart by who asked.
fn refused(row: Row) -> Result<Row, Error> {
    match row.first().map(Vec::as_slice) {
        Some(b"!expired") => Err(Error::CursorExpired),
        _ => Ok(row),
    }
}
