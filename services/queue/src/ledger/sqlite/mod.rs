//! The ledger in a SQLite file that one daemon has for itself, synced with each commit.
//!
//! A thread of its own has the connection, so that the engine goes on while a commit is synced.

mod read;
mod recover;
mod schema;
mod write;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use rusqlite::{Connection, OptionalExtension as _, Statement};
use tokio::sync::oneshot;

pub(crate) use self::read::Readers;
use self::write::Writer;
use crate::{
    core::{Core, Limits, batch::Batch, entry::Row},
    error::Error,
    ledger::Ledger,
    task::Micros,
};

/// The ledger in a file.
#[derive(Debug)]
pub(crate) struct SqliteLedger {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do with the file.
type Job = Box<dyn FnOnce(&mut Hand<'_>) + Send>;

impl SqliteLedger {
    /// Opens the file, and brings it to the present version.
    ///
    /// # Errors
    /// It cannot be used, or another daemon uses it.
    pub(crate) async fn open(path: PathBuf) -> Result<Self, Error> {
        let (opened, outcome) = oneshot::channel();
        let (jobs, todo) = mpsc::channel();
        let work = move || match serve(path, todo, opened) {
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "the file of the queue was given up"),
        };
        let thread = std::thread::Builder::new().name("queue-ledger".into()).spawn(work);
        let thread = Some(thread.map_err(|error| Error::Store(error.to_string()))?);
        let ledger = Self { jobs: Some(jobs), thread };
        outcome.await.map_err(|_| Error::Closed)??;
        Ok(ledger)
    }

    /// Has the thread do a job.
    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Hand<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        // Whoever asked may have been dropped with the engine.
        let job: Job = Box::new(move |hand| drop(reply.send(job(hand))));
        let jobs = self.jobs.as_ref().ok_or(Error::Closed)?;
        jobs.send(job).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// The file is closed, and its lock free, when this returns.
impl Drop for SqliteLedger {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of the file has panicked");
        }
    }
}

/// Opens the file, tells the outcome, and does what is to be done.
fn serve(
    path: PathBuf,
    todo: mpsc::Receiver<Job>,
    opened: oneshot::Sender<Result<(), Error>>,
) -> Result<(), Error> {
    let open = || Ok((schema::lock(&path)?, schema::open(&path)?));
    let (_lock, connection) = match open() {
        Ok(file) => file,
        Err(error) => {
            // Whoever opens it tells of the error.
            drop(opened.send(Err(error)));
            return Ok(());
        }
    };
    let mut hand = Hand::new(&connection)?;
    drop(opened.send(Ok(())));
    todo.iter().for_each(|job| job(&mut hand));
    Ok(())
}

/// The connection, with its statements prepared.
struct Hand<'c> {
    connection: &'c Connection,
    writer: Writer<'c>,
    payload: Statement<'c>,
    checkpoint: Statement<'c>,
}

impl<'c> Hand<'c> {
    /// # Errors
    /// The file is not ours.
    fn new(connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self {
            connection,
            writer: Writer::new(connection)?,
            payload: connection.prepare("SELECT payload FROM task WHERE row = ?1")?,
            checkpoint: connection.prepare("SELECT bytes FROM checkpoint WHERE row = ?1")?,
        })
    }

    fn recover(&mut self, limits: Limits, noise: u64, clock: Micros) -> Result<Core, Error> {
        let (core, counters) = recover::recover(self.connection, limits, noise, clock)?;
        self.writer.start_from(counters.last_row, counters.floor);
        Ok(core)
    }

    fn payload(&mut self, row: Row) -> Result<Option<Arc<[u8]>>, Error> {
        let bytes: Option<Vec<u8>> = self.payload.query_row([row], |found| found.get(0)).optional()?;
        Ok(bytes.map(Arc::from))
    }

    fn checkpoint(&mut self, row: Row) -> Result<Option<Arc<[u8]>>, Error> {
        let bytes: Option<Vec<u8>> = self.checkpoint.query_row([row], |found| found.get(0)).optional()?;
        Ok(bytes.map(Arc::from))
    }
}

impl Ledger for SqliteLedger {
    async fn recover(&mut self, limits: Limits, noise: u64, clock: Micros) -> Result<Core, Error> {
        self.ask(move |hand| hand.recover(limits, noise, clock)).await
    }

    async fn write(&mut self, batch: Batch) -> Result<Batch, Error> {
        self.ask(move |hand| hand.writer.write(&batch).map(|()| batch)).await
    }

    async fn payloads(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        self.ask(move |hand| rows.into_iter().map(|row| hand.payload(row)).collect()).await
    }

    async fn checkpoints(&mut self, rows: Vec<Row>) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        self.ask(move |hand| rows.into_iter().map(|row| hand.checkpoint(row)).collect()).await
    }
}
