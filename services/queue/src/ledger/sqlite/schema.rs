//! The file: its tables, how they came to be, and how a connection is set up.
//!
//! - `task`: one row for each kept task, written once when it is enqueued.
//! - `journal`: one row for each commit with the changes of tasks in it, packed ([`crate::codec`]); the last
//!   change of a live task is its state. Also the event log of watches.
//! - `finished`: one small row for each kept task that ended.
//! - `checkpoint`: what attempts left for the next one, of tasks that have not ended.
//! - `fact`: what operators have set, JSON under a key.
//! - `meta`: `floor`, the journal entry after which watches may resume.

use std::{fs::File, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use crate::error::Error;

/// Steps that bring a file to the present version; `user_version` counts those that were taken.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE task (
        row INTEGER PRIMARY KEY, id BLOB NOT NULL, created INTEGER NOT NULL, ready_at INTEGER NOT NULL,
        spec BLOB NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE journal (
        first INTEGER PRIMARY KEY, entries INTEGER NOT NULL, last_token INTEGER NOT NULL,
        last_row INTEGER NOT NULL, changes BLOB NOT NULL);
    CREATE TABLE finished (
        row INTEGER PRIMARY KEY, id BLOB NOT NULL, state INTEGER NOT NULL, token INTEGER NOT NULL,
        attempts INTEGER NOT NULL, journal INTEGER NOT NULL, at INTEGER NOT NULL,
        result BLOB, reason TEXT, message TEXT);
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
",
    "CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    "
    CREATE TABLE checkpoint (row INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    ALTER TABLE finished ADD COLUMN trail BLOB;
",
];

/// Opens the file for writing and brings it to the present version.
///
/// # Errors
/// The file cannot be opened, is damaged, or was written by a later version.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 500;
         PRAGMA cache_size = -32768; PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY;",
    )?;
    migrate(&connection)?;
    Ok(connection)
}

/// Opens the file for short reads.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -4096;")?;
    Ok(connection)
}

/// How often, and how far apart, the lock is tried: the daemon before may still be on its way out.
const LOCK_TRIES: usize = 100;
const LOCK_REST: Duration = Duration::from_millis(50);

/// Takes the lock that keeps a second daemon from the file; it holds until the file is dropped.
///
/// # Errors
/// Another daemon has it.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let beside = path.with_extension("lock");
    let failed = |why: &dyn std::fmt::Display| Error::Store(format!("{}: {why}", beside.display()));
    let file = File::create(&beside).map_err(|error| failed(&error))?;
    for _ in 0..LOCK_TRIES {
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        std::thread::sleep(LOCK_REST);
    }
    Err(failed(&"another daemon uses this queue"))
}

fn migrate(connection: &Connection) -> Result<(), Error> {
    let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        return Err(Error::Store(format!("the file has version {version}, later than this program")));
    }
    for (taken, step) in MIGRATIONS.iter().enumerate().skip(version) {
        let number = taken + 1;
        connection.execute_batch(&format!("BEGIN; {step} PRAGMA user_version = {number}; COMMIT;"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_trails_is_brought_up() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("queue.db");
        let before = Connection::open(&path).unwrap();
        for step in &MIGRATIONS[..2] {
            before.execute_batch(step).unwrap();
        }
        let row =
            "INSERT INTO finished VALUES (7, x'00', 5, 1, 1, 1, 1, NULL, 'R', 'm'); PRAGMA user_version = 2;";
        before.execute_batch(row).unwrap();
        drop(before);
        let after = open(&path).unwrap();
        let trail: Option<Vec<u8>> =
            after.query_row("SELECT trail FROM finished WHERE row = 7", [], |found| found.get(0)).unwrap();
        assert_eq!(trail, None);
    }
}
