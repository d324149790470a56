//! The table of changes: appended at each commit, trimmed from its beginning.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{set_state, state};
use crate::Error;
use crate::kv::entries::Bounds;
use crate::kv::limits::{CHANGES_KEPT, CHANGES_SLACK};
use crate::kv::{Change, Revision};

pub(super) fn append(
    connection: &Connection,
    revision: Revision,
    key: &str,
    deleted: bool,
) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT INTO change (revision, key, deleted) VALUES (?1, ?2, ?3)")?
        .execute(params![revision, key, deleted])?;
    Ok(())
}

pub(super) fn read(
    connection: &Connection,
    prefix: &str,
    after: Revision,
    limit: usize,
) -> Result<Vec<Change>, Error> {
    let floor = state(connection, "floor")?;
    if after < floor || after > state(connection, "revision")? {
        return Err(Error::CursorExpired { after, oldest: floor });
    }
    let Some(first) = first_after(connection, after)? else { return Ok(Vec::new()) };
    let bounds = Bounds::of_prefix(prefix);
    let mut statement = connection.prepare_cached(
        "SELECT revision, key, deleted FROM change
         WHERE sequence >= ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) ORDER BY sequence",
    )?;
    let mut changes: Vec<Change> = Vec::new();
    for row in statement.query_map(params![first, bounds.lower, bounds.upper], change)? {
        let change = row?;
        // A full page still takes the rest of its last revision.
        if changes.len() >= limit && changes.last().is_some_and(|last| last.revision != change.revision) {
            break;
        }
        changes.push(change);
    }
    Ok(changes)
}

/// Removes the oldest changes once there are too many, and remembers the last revision that lost some.
pub(super) fn trim(connection: &Connection) -> Result<(), Error> {
    let (first, last): (u64, u64) = connection
        .prepare_cached("SELECT (SELECT min(sequence) FROM change), (SELECT max(sequence) FROM change)")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if last - first < CHANGES_KEPT + CHANGES_SLACK {
        return Ok(());
    }
    let cut = last - CHANGES_KEPT;
    let floor = connection
        .prepare_cached("SELECT revision FROM change WHERE sequence = ?1")?
        .query_row([cut], |row| row.get(0))?;
    connection.prepare_cached("DELETE FROM change WHERE sequence <= ?1")?.execute([cut])?;
    set_state(connection, "floor", floor)
}

fn first_after(connection: &Connection, after: Revision) -> Result<Option<u64>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence FROM change WHERE revision > ?1 ORDER BY revision, sequence LIMIT 1",
    )?;
    Ok(statement.query_row([after], |row| row.get(0)).optional()?)
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change { revision: row.get(0)?, key: row.get(1)?, deleted: row.get(2)? })
}
