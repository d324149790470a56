//! The table of entries.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Error;
use crate::kv::entries::Bounds;
use crate::kv::{Entry, Range, Revision, Write};

const ASCENDING: &str = "
    SELECT key, value, version FROM entry
    WHERE key >= ?1 AND (NOT ?2 OR key > ?1) AND (?3 IS NULL OR key < ?3)
    ORDER BY key LIMIT ?4";
const DESCENDING: &str = "
    SELECT key, value, version FROM entry
    WHERE key >= ?1 AND (NOT ?2 OR key > ?1) AND key < ifnull(?3, x'')
    ORDER BY key DESC LIMIT ?4";

pub(super) fn get(connection: &Connection, key: &str) -> Result<Option<Entry>, Error> {
    let mut statement = connection.prepare_cached("SELECT key, value, version FROM entry WHERE key = ?1")?;
    Ok(statement.query_row([key], entry).optional()?)
}

pub(super) fn version(connection: &Connection, key: &str) -> Result<Option<Revision>, Error> {
    let mut statement = connection.prepare_cached("SELECT version FROM entry WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(super) fn range(connection: &Connection, range: &Range) -> Result<Vec<Entry>, Error> {
    let bounds = Bounds::of_range(range);
    let mut statement = connection.prepare_cached(if range.descending { DESCENDING } else { ASCENDING })?;
    let params = params![bounds.lower, bounds.lower_excluded, bounds.upper, range.limit];
    let mut page: Vec<Entry> = Vec::new();
    let mut left = range.bytes.unwrap_or(usize::MAX);
    for entry in statement.query_map(params, entry)? {
        let entry = entry?;
        left = left.saturating_sub(entry.value.len());
        page.push(entry);
        if left == 0 {
            break;
        }
    }
    Ok(page)
}

/// Applies one write. False when there was nothing to delete.
pub(super) fn write(connection: &Connection, write: &Write, revision: Revision) -> Result<bool, Error> {
    let changed = match write {
        Write::Put { key, value } => connection
            .prepare_cached(
                "INSERT INTO entry (key, value, version) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version",
            )?
            .execute(params![key, value, revision])?,
        Write::Delete { key } => {
            connection.prepare_cached("DELETE FROM entry WHERE key = ?1")?.execute([key])?
        }
    };
    Ok(changed > 0)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { key: row.get(0)?, value: row.get(1)?, version: row.get(2)? })
}
