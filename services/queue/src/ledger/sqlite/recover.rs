//! Building memory from the file: at the start, and after a commit that failed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use crate::{
    codec::unpack_spec,
    core::{
        Core, Limits,
        entry::Row,
        restore::{Counters, KeptEnding, KeptTask},
    },
    error::Error,
    ledger::unpack_changes,
    task::{Micros, State},
};

/// Reads the whole queue.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub(super) fn recover(
    connection: &Connection,
    limits: Limits,
    noise: u64,
    now: Micros,
) -> Result<(Core, Counters), Error> {
    let mut core = Core::new(limits, noise);
    restore_facts(connection, &mut core)?;
    restore_tasks(connection, &mut core)?;
    restore_journal(connection, &mut core)?;
    let counters = counters(connection)?;
    core.restored(counters, now);
    // The file loses nothing; but it may be an older copy that was put back.
    core.continue_tokens(u64::try_from(now).unwrap_or(0));
    Ok((core, counters))
}

fn restore_facts(connection: &Connection, core: &mut Core) -> Result<(), Error> {
    let mut statement = connection.prepare("SELECT key, value FROM fact")?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let (key, value): (String, String) = (found.get(0)?, found.get(1)?);
        core.restore_fact(&key, &value)?;
    }
    Ok(())
}

fn restore_tasks(connection: &Connection, core: &mut Core) -> Result<(), Error> {
    let endings = endings(connection)?;
    let mut statement = connection
        .prepare("SELECT row, id, created, ready_at, spec, length(payload) FROM task ORDER BY row")?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let row: Row = found.get(0)?;
        let spec = unpack_spec(found.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?)?;
        let task = KeptTask {
            row,
            id: Uuid::from_bytes(found.get(1)?),
            spec,
            payload_len: found.get(5)?,
            created: found.get(2)?,
            ready_at: found.get(3)?,
        };
        core.restore_task(task, endings.get(&row).copied())?;
    }
    Ok(())
}

fn endings(connection: &Connection) -> Result<HashMap<Row, KeptEnding>, Error> {
    let mut statement = connection
        .prepare("SELECT row, state, journal, at, coalesce(length(result), 0), token FROM finished")?;
    let rows = statement.query_map([], |found| {
        let state = State::from_code(found.get(1)?).unwrap_or(State::Dead);
        let (journal, at, result_len, token) = (found.get(2)?, found.get(3)?, found.get(4)?, found.get(5)?);
        Ok((found.get(0)?, KeptEnding { state, token, journal, at, result_len }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn restore_journal(connection: &Connection, core: &mut Core) -> Result<(), Error> {
    let mut statement = connection.prepare("SELECT first, changes FROM journal ORDER BY first")?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let changes = unpack_changes(found.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        core.restore_journal(found.get(0)?, changes);
    }
    Ok(())
}

/// Reads what counts on across restarts.
fn counters(connection: &Connection) -> Result<Counters, Error> {
    let newest = connection
        .query_row(
            "SELECT last_token, last_row, first + entries - 1 FROM journal ORDER BY first DESC LIMIT 1",
            [],
            |found| Ok((found.get(0)?, found.get(1)?, found.get(2)?)),
        )
        .optional()?;
    let (last_token, last_row, last_entry) = newest.unwrap_or_default();
    let floor = connection
        .query_row("SELECT value FROM meta WHERE name = 'floor'", [], |found| found.get(0))
        .optional()?
        .unwrap_or(0);
    Ok(Counters { last_token, last_row, last_entry, floor })
}
