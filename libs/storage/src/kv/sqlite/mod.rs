//! The store over SQLite. A file belongs to one process.

mod change_log;
mod entries;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tokio::sync::watch;
use tokio::time::Instant;

use super::entries::raise;
use super::{Change, Commit, Entry, Kv, Range, Revision, Write, limits};
use crate::sqlite::Database;
use crate::{CommitError, Error};

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// [`Kv`] in a database file of its own. Clones share it.
#[derive(Debug, Clone)]
pub struct SqliteKv {
    database: Database,
    latest: Arc<watch::Sender<Revision>>,
}

impl SqliteKv {
    /// Opens `path`, creating it when missing. Blocks: call it while starting up.
    ///
    /// # Errors
    /// See [`crate::sqlite::open_writer`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let database = Database::open(path, MIGRATIONS)?;
        let revision = state(&crate::sqlite::open_reader(path)?, "revision")?;
        Ok(Self { database, latest: Arc::new(watch::Sender::new(revision)) })
    }

    /// The database below, for its statistics.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Gives this handle up; see [`Database::close`].
    pub async fn close(self) {
        self.database.close().await;
    }
}

#[async_trait]
impl Kv for SqliteKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        limits::key(key)?;
        let key = key.to_owned();
        self.database.read(move |connection| entries::get(connection, &key)).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        limits::range(&range)?;
        self.database.read(move |connection| entries::range(connection, &range)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError> {
        limits::commit(&commit)?;
        let latest = Arc::clone(&self.latest);
        let announce = move |revision: &Revision| {
            latest.send_if_modified(|latest| raise(latest, *revision));
        };
        self.database.write_then(move |connection| apply(connection, &commit), announce).await
    }

    async fn changes(&self, prefix: &str, after: Revision, limit: usize) -> Result<Vec<Change>, Error> {
        limits::page(prefix, limit)?;
        let prefix = prefix.to_owned();
        self.database.read(move |connection| change_log::read(connection, &prefix, after, limit)).await
    }

    async fn revision(&self) -> Result<Revision, Error> {
        Ok(*self.latest.borrow())
    }

    async fn wait_past(&self, revision: Revision) -> Result<Revision, Error> {
        let mut latest = self.latest.subscribe();
        let reached = latest.wait_for(|latest| *latest > revision).await.map_err(|_| Error::Closed)?;
        Ok(*reached)
    }
}

/// Inside the transaction: the time, then checks, then writes, then the log.
fn apply(connection: &Connection, commit: &Commit) -> Result<Revision, CommitError> {
    if commit.before.is_some_and(|end| end <= Instant::now()) {
        return Err(Error::TooLate.into());
    }
    for check in &commit.checks {
        if entries::version(connection, &check.key)? != check.version {
            return Err(CommitError::Conflict { key: check.key.clone() });
        }
    }
    let present = state(connection, "revision")?;
    let revision = present + 1;
    let mut changed = false;
    for write in &commit.writes {
        if entries::write(connection, write, revision)? {
            change_log::append(connection, revision, write.key(), matches!(write, Write::Delete { .. }))?;
            changed = true;
        }
    }
    if !changed {
        return Ok(present);
    }
    set_state(connection, "revision", revision)?;
    change_log::trim(connection)?;
    Ok(revision)
}

fn state(connection: &Connection, name: &str) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached("SELECT value FROM state WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0))?)
}

fn set_state(connection: &Connection, name: &str, value: u64) -> Result<(), Error> {
    let mut statement = connection.prepare_cached("UPDATE state SET value = ?2 WHERE name = ?1")?;
    statement.execute(params![name, value])?;
    Ok(())
}
