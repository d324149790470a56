//! Reading the file beside the engine: short reads on connections of their own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, Row as Found, params};
use uuid::Uuid;

use crate::{
    codec::{Damaged, unpack_spec},
    core::entry::{Entry, Row, row_of},
    error::Error,
    record::{Cursor, Spec, Task, TaskEvent},
    store::sqlite::{recover::unpack_changes, schema::open_reader},
    task::{Failure, Micros, State},
};

/// Most idle connections.
const IDLE: usize = 4;

/// Connections for reading.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// None open yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), idle: Mutex::default() }
    }

    /// Runs a short read off the async threads.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let value = read(&connection);
            readers.give(connection);
            value
        });
        done.await.map_err(|error| Error::Store(error.to_string()))?
    }

    fn take(&self) -> Result<Connection, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open_reader(&self.path), Ok)
    }

    fn give(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}

/// A stored task as it was enqueued.
#[derive(Debug)]
pub(super) struct Enqueued {
    pub(super) id: Uuid,
    pub(super) row: Row,
    pub(super) spec: Arc<Spec>,
    created: Micros,
    ready_at: Micros,
}

/// Up to `limit` stored tasks before a row, newest first.
pub(super) fn before(connection: &Connection, row: Row, limit: usize) -> Result<Vec<Enqueued>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT row, id, created, ready_at, spec FROM task WHERE row < ?1 ORDER BY row DESC LIMIT ?2",
    )?;
    let bound = i64::try_from(row).unwrap_or(i64::MAX);
    let found = statement.query_and_then(params![bound, limit], enqueued)?;
    found.collect()
}

fn enqueued(found: &Found<'_>) -> Result<Enqueued, Error> {
    let spec = unpack_spec(found.get_ref(4)?.as_blob().map_err(|_| Damaged)?)?;
    Ok(Enqueued {
        row: found.get(0)?,
        id: Uuid::from_bytes(found.get(1)?),
        created: found.get(2)?,
        ready_at: found.get(3)?,
        spec: Arc::new(spec),
    })
}

/// The payload of a stored task.
pub(super) fn payload(connection: &Connection, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
    let mut statement = connection.prepare_cached("SELECT payload FROM task WHERE row = ?1 AND id = ?2")?;
    let found: Option<Vec<u8>> =
        statement.query_row(params![row_of(id), id.as_bytes()], |found| found.get(0)).optional()?;
    Ok(found.map(Arc::from))
}

/// An ended task, whole.
pub(super) fn ended(connection: &Connection, id: Uuid) -> Result<Option<Task>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT row, id, created, ready_at, spec FROM task WHERE row = ?1 AND id = ?2")?;
    let mut found = statement.query_and_then(params![row_of(id), id.as_bytes()], enqueued)?;
    let Some(task) = found.next().transpose()? else { return Ok(None) };
    let task = ending(connection, task)?;
    task.map(|task| Ok(Task { payload: payload(connection, id)?, ..task })).transpose()
}

/// A stored task with how it ended; nothing when it lives.
pub(super) fn ending(connection: &Connection, task: Enqueued) -> Result<Option<Task>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT state, attempts, at, result, reason, message FROM finished WHERE row = ?1")?;
    let entry = Entry::new(task.id, 0, task.spec, task.created, task.ready_at);
    let found = statement.query_row([task.row], |found| {
        let mut task = entry.view();
        task.status.state = State::from_code(found.get(0)?).unwrap_or(State::Dead);
        task.status.attempts = found.get(1)?;
        task.status.updated = found.get(2)?;
        task.result = found.get::<_, Option<Vec<u8>>>(3)?.map(Arc::from);
        let (reason, message): (Option<String>, Option<String>) = (found.get(4)?, found.get(5)?);
        let error = reason.zip(message).map(|(reason, message)| Failure { reason, message });
        task.status.last_error = error.map(Arc::new);
        Ok(task)
    });
    Ok(found.optional()?)
}

/// Events after a journal entry, oldest first, about `limit` of them.
pub(super) fn events(connection: &Connection, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT first, changes FROM journal
         WHERE first >= (SELECT coalesce(max(first), 0) FROM journal WHERE first <= ?1) ORDER BY first",
    )?;
    let mut rows = statement.query([after + 1])?;
    let mut events = Vec::new();
    while let Some(found) = rows.next()? {
        let first: u64 = found.get(0)?;
        let changes = unpack_changes(found.get_ref(1)?.as_blob().map_err(|_| Damaged)?)?;
        for (number, change) in (first..).zip(changes) {
            if number <= after || !change.event {
                continue;
            }
            let task = task_of(connection, change.row)?.ok_or(Error::CursorExpired)?;
            let result = if change.status.state == State::Completed { task.result } else { None };
            let at = change.status.updated;
            let task = Task { status: change.status, payload: None, result, ..task };
            events.push(TaskEvent { cursor: Cursor(number, 0), at, task });
        }
        if events.len() >= limit {
            break;
        }
    }
    Ok(events)
}

/// What never changes of a stored task, and its result when it has one.
fn task_of(connection: &Connection, row: Row) -> Result<Option<Task>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT row, id, created, ready_at, spec FROM task WHERE row = ?1")?;
    let mut found = statement.query_and_then([row], enqueued)?;
    let Some(task) = found.next().transpose()? else { return Ok(None) };
    let alive = Entry::new(task.id, 0, Arc::clone(&task.spec), task.created, task.ready_at).view();
    Ok(Some(ending(connection, task)?.unwrap_or(alive)))
}
