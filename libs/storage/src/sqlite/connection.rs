//! Opening connections: the pragmas that durability rests on, and migrations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::Error;

/// Longest wait for a lock that another connection (a backup, somebody's shell) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that a connection keeps prepared.
const STATEMENT_CACHE: usize = 64;

/// `FULL` syncs the log at each commit. The log is moved into the database every 1,000 pages: larger
/// steps stall writers for longer. A log that one slow reader has blown up shrinks to 64 MiB again.
const WRITER_PRAGMAS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
";

/// Opens the one connection that writes to `path`, creates the file when missing, and migrates it.
///
/// Migration `n` (from 0) brings the schema from version `n` to `n + 1`; the version is SQLite's
/// `user_version`. Each runs in a transaction of its own. Never change a published one: append.
///
/// # Errors
/// The file cannot be opened, cannot hold a write-ahead log, or is newer than the migrations.
pub fn open_writer(path: &Path, migrations: &[&str]) -> Result<Connection, Error> {
    let mut connection = open(path, OpenFlags::default())?;
    use_write_ahead_log(&connection, path)?;
    connection.execute_batch(WRITER_PRAGMAS)?;
    migrate(&mut connection, path, migrations)?;
    Ok(connection)
}

/// Opens a read-only connection to a database that [`open_writer`] has opened before.
///
/// # Errors
/// The file is missing or cannot be opened.
pub fn open_reader(path: &Path) -> Result<Connection, Error> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source: Arc::new(source) };
    // A path that begins with "file:" is still a path.
    let flags = flags.difference(OpenFlags::SQLITE_OPEN_URI);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

fn use_write_ahead_log(connection: &Connection, path: &Path) -> Result<(), Error> {
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|source| Error::Open { path: path.to_owned(), source: Arc::new(source) })?;
    if mode == "wal" { Ok(()) } else { Err(Error::NoWriteAheadLog { path: path.to_owned(), mode }) }
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), Error> {
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Some(pending) = migrations.get(found..) else {
        return Err(Error::SchemaTooNew { path: path.to_owned(), found, known: migrations.len() });
    };
    for (version, migration) in (found + 1..).zip(pending) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
