//! Spans in SQLite, bounded: the oldest give way.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;

use super::spans::Span;

/// Spans that are kept.
const KEPT: i64 = 500_000;
/// Spans between two removals of the oldest.
const PRUNE_EVERY: usize = 20_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS span (
        trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL,
        service TEXT NOT NULL, name TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
        error INTEGER NOT NULL, attributes TEXT NOT NULL,
        UNIQUE (trace_id, span_id)
    );
    CREATE INDEX IF NOT EXISTS span_start ON span (start_ns);
";

/// The store of traces.
#[derive(Debug)]
pub(crate) struct Traces(Mutex<Writer>);

#[derive(Debug)]
struct Writer {
    connection: Connection,
    since_prune: usize,
}

/// What a list of traces shows of each.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TraceSummary {
    /// 32 hex digits.
    pub(crate) trace_id: String,
    /// Name of its first span.
    pub(crate) root: String,
    /// Start, nanoseconds since the epoch.
    pub(crate) start_ns: i64,
    /// From the first start to the last end, nanoseconds.
    pub(crate) duration_ns: i64,
    /// Spans.
    pub(crate) spans: i64,
    /// Spans that ended in an error.
    pub(crate) errors: i64,
}

impl Traces {
    /// Opens the store for writing; made when missing.
    pub(crate) fn create(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(Writer { connection, since_prune: 0 })))
    }

    /// Opens the store for reading; also while a mesh writes it.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        Ok(Self(Mutex::new(Writer { connection, since_prune: 0 })))
    }

    /// Stores spans, all or none; those that are there stay.
    pub(crate) fn insert(&self, spans: &[Span]) -> rusqlite::Result<()> {
        let mut writer = self.0.lock().expect("nobody panics while holding it");
        let transaction = writer.connection.transaction()?;
        for span in spans {
            insert_one(&transaction, span)?;
        }
        transaction.commit()?;
        writer.since_prune += spans.len();
        if writer.since_prune > PRUNE_EVERY {
            prune(&mut writer)?;
        }
        Ok(())
    }

    /// Removes the oldest beyond what is kept.
    pub(crate) fn prune(&self) -> rusqlite::Result<()> {
        prune(&mut self.0.lock().expect("nobody panics while holding it"))
    }

    /// The spans of a trace, by start.
    pub(crate) fn spans(&self, trace_id: &str) -> rusqlite::Result<Vec<Span>> {
        let writer = self.0.lock().expect("nobody panics while holding it");
        let mut query = writer.connection.prepare(
            "SELECT trace_id, span_id, parent_id, service, name, start_ns, end_ns, error, attributes
             FROM span WHERE trace_id = ?1 ORDER BY start_ns",
        )?;
        query.query_map([trace_id], read)?.collect()
    }

    /// The latest traces, newest first.
    pub(crate) fn latest(&self, limit: usize) -> rusqlite::Result<Vec<TraceSummary>> {
        let writer = self.0.lock().expect("nobody panics while holding it");
        let mut query = writer.connection.prepare(
            "SELECT trace_id, name, min(start_ns), max(end_ns) - min(start_ns), count(*), sum(error)
             FROM span GROUP BY trace_id ORDER BY min(start_ns) DESC LIMIT ?1",
        )?;
        let summary = |row: &rusqlite::Row<'_>| {
            Ok(TraceSummary {
                trace_id: row.get(0)?,
                root: row.get(1)?,
                start_ns: row.get(2)?,
                duration_ns: row.get(3)?,
                spans: row.get(4)?,
                errors: row.get(5)?,
            })
        };
        query.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], summary)?.collect()
    }
}

fn insert_one(connection: &Connection, span: &Span) -> rusqlite::Result<()> {
    let attributes = serde_json::Value::Object(span.attributes.clone()).to_string();
    connection
        .prepare_cached("INSERT OR IGNORE INTO span VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            span.trace_id,
            span.span_id,
            span.parent_id,
            span.service,
            span.name,
            span.start_ns,
            span.end_ns,
            span.error,
            attributes
        ])?;
    Ok(())
}

fn prune(writer: &mut Writer) -> rusqlite::Result<()> {
    writer.since_prune = 0;
    writer
        .connection
        .execute("DELETE FROM span WHERE rowid <= (SELECT max(rowid) FROM span) - ?1", [KEPT])?;
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Span> {
    let attributes: String = row.get(8)?;
    Ok(Span {
        trace_id: row.get(0)?,
        span_id: row.get(1)?,
        parent_id: row.get(2)?,
        service: row.get(3)?,
        name: row.get(4)?,
        start_ns: row.get(5)?,
        end_ns: row.get(6)?,
        error: row.get(7)?,
        attributes: serde_json::from_str(&attributes).unwrap_or_default(),
    })
}
