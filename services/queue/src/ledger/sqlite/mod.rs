//! The ledger in a SQLite file that one daemon has for itself, synced with each commit.

mod read;
mod recover;
mod schema;
mod write;

use std::{fs::File, path::Path, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Statement, params};
use uuid::Uuid;

pub(crate) use self::read::Readers;
use self::write::Writer;
use crate::{
    core::{
        Core, Limits,
        batch::Batch,
        entry::{Row, row_of},
    },
    error::Error,
    ledger::{Ended, Ledger},
    task::{Micros, State},
};

/// The file, and the lock that keeps a second daemon from it.
#[derive(Debug)]
pub(crate) struct LedgerFile {
    connection: Connection,
    _lock: File,
}

impl LedgerFile {
    /// Opens the file, and brings it to the present version.
    ///
    /// # Errors
    /// It cannot be used, or another daemon uses it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let lock = schema::lock(path)?;
        Ok(Self { connection: schema::open(path)?, _lock: lock })
    }
}

/// The ledger in a file.
#[derive(Debug)]
pub(crate) struct SqliteLedger<'c> {
    connection: &'c Connection,
    writer: Writer<'c>,
    payload: Statement<'c>,
    checkpoint: Statement<'c>,
    ending: Statement<'c>,
}

impl<'c> SqliteLedger<'c> {
    /// A ledger over an open file.
    ///
    /// # Errors
    /// The file is not ours.
    pub(crate) fn new(file: &'c LedgerFile) -> Result<Self, Error> {
        let connection = &file.connection;
        Ok(Self {
            connection,
            writer: Writer::new(connection)?,
            payload: connection.prepare("SELECT payload FROM task WHERE row = ?1")?,
            checkpoint: connection.prepare("SELECT bytes FROM checkpoint WHERE row = ?1")?,
            ending: connection.prepare("SELECT state, token, at FROM finished WHERE row = ?1 AND id = ?2")?,
        })
    }

    fn ending(&mut self, id: Uuid) -> Result<Option<Ended>, Error> {
        let found = self.ending.query_row(params![row_of(id), id.as_bytes()], |row| {
            let state = State::from_code(row.get(0)?);
            let (token, at) = (row.get(1)?, row.get(2)?);
            Ok(state.map(|state| Ended { state, token, at }))
        });
        Ok(found.optional()?.flatten())
    }
}

impl Ledger for SqliteLedger<'_> {
    async fn recover(&mut self, limits: Limits, noise: u64, clock: Micros) -> Result<Core, Error> {
        let (core, counters) = recover::recover(self.connection, limits, noise, clock)?;
        self.writer.start_from(counters.last_row, counters.floor);
        Ok(core)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        self.writer.write(batch)
    }

    async fn payloads(&mut self, rows: &[Row]) -> Result<Vec<Arc<[u8]>>, Error> {
        let mut payload = |row: &Row| -> Result<Arc<[u8]>, Error> {
            let bytes: Vec<u8> = self.payload.query_row([row], |found| found.get(0))?;
            Ok(bytes.into())
        };
        rows.iter().map(&mut payload).collect()
    }

    async fn checkpoints(&mut self, rows: &[Row]) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        let mut checkpoint = |row: &Row| -> Result<Option<Arc<[u8]>>, Error> {
            let bytes: Option<Vec<u8>> = self.checkpoint.query_row([row], |found| found.get(0)).optional()?;
            Ok(bytes.map(Arc::from))
        };
        rows.iter().map(&mut checkpoint).collect()
    }

    async fn endings(&mut self, ids: &[Uuid]) -> Result<Vec<Option<Ended>>, Error> {
        ids.iter().map(|id| self.ending(*id)).collect()
    }
}
