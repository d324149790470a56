//! Reading the file beside the engine: short reads on connections of their own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row as Found, params};
use uuid::Uuid;

use super::schema::open_reader;
use crate::{
    codec::{Damaged, unpack_spec},
    core::entry::{Row, row_of},
    error::Error,
    ledger::{EndRecord, Enqueued, Reader, unpack_changes, unpacked_trail},
    record::{Cursor, Task, TaskEvent},
    task::{Failure, State},
};

/// Most idle connections.
const IDLE: usize = 4;

/// Connections for reading.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// None open yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), idle: Arc::default() }
    }

    /// Runs a short read off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.clone();
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

#[async_trait]
impl Reader for Readers {
    async fn endings(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Task>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |connection| ids.into_iter().map(|id| listed(connection, id)).collect()).await
    }

    async fn ended(&self, id: Uuid) -> Result<Option<Task>, Error> {
        self.read(move |connection| ended(connection, id)).await
    }

    async fn payload(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        self.read(move |connection| payload(connection, id)).await
    }

    async fn checkpoint(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        self.read(move |connection| checkpoint(connection, row_of(id))).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error> {
        self.read(move |connection| events(connection, after, limit)).await
    }
}

fn enqueued(found: &Found<'_>) -> Result<Enqueued, Error> {
    let spec = unpack_spec(found.get_ref(4)?.as_blob().map_err(|_| Damaged)?)?;
    Ok(Enqueued {
        row: found.get(0)?,
        id: Uuid::from_bytes(found.get(1)?),
        created: found.get(2)?,
        ready_at: found.get(3)?,
        spec: Arc::new(spec),
        payload_len: found.get(5)?,
    })
}

/// The payload of a stored task.
fn payload(connection: &Connection, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
    let mut statement = connection.prepare_cached("SELECT payload FROM task WHERE row = ?1 AND id = ?2")?;
    let found: Option<Vec<u8>> =
        statement.query_row(params![row_of(id), id.as_bytes()], |found| found.get(0)).optional()?;
    Ok(found.map(Arc::from))
}

/// The checkpoint of a stored task.
fn checkpoint(connection: &Connection, row: Row) -> Result<Option<Arc<[u8]>>, Error> {
    let mut statement = connection.prepare_cached("SELECT bytes FROM checkpoint WHERE row = ?1")?;
    let found: Option<Vec<u8>> = statement.query_row([row], |found| found.get(0)).optional()?;
    Ok(found.map(Arc::from))
}

/// An ended task, whole.
fn ended(connection: &Connection, id: Uuid) -> Result<Option<Task>, Error> {
    let Some(task) = stored(connection, id)? else { return Ok(None) };
    let task = ending(connection, task, WHOLE)?;
    task.map(|task| Ok(Task { payload: payload(connection, id)?, ..task })).transpose()
}

/// An ended task as lists show it.
fn listed(connection: &Connection, id: Uuid) -> Result<Option<Task>, Error> {
    let Some(task) = stored(connection, id)? else { return Ok(None) };
    ending(connection, task, WITHOUT_RESULT)
}

fn stored(connection: &Connection, id: Uuid) -> Result<Option<Enqueued>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT row, id, created, ready_at, spec, length(payload) FROM task WHERE row = ?1 AND id = ?2",
    )?;
    let mut found = statement.query_and_then(params![row_of(id), id.as_bytes()], enqueued)?;
    found.next().transpose()
}

/// How a task ended.
const WHOLE: &str = "SELECT state, attempts, at, result, reason, message, trail FROM finished WHERE row = ?1";
const WITHOUT_RESULT: &str =
    "SELECT state, attempts, at, NULL, reason, message, trail FROM finished WHERE row = ?1";

/// A stored task with how it ended; nothing when it lives.
fn ending(connection: &Connection, task: Enqueued, select: &str) -> Result<Option<Task>, Error> {
    let mut statement = connection.prepare_cached(select)?;
    let mut found = statement.query_and_then([task.row], end_record)?;
    Ok(found.next().transpose()?.map(|end| task.ended(end)))
}

fn end_record(found: &Found<'_>) -> Result<EndRecord, Error> {
    let (reason, message): (Option<String>, Option<String>) = (found.get(4)?, found.get(5)?);
    let trail = found.get_ref(6)?.as_blob_or_null().map_err(|_| Damaged)?;
    Ok(EndRecord {
        state: State::from_code(found.get(0)?).unwrap_or(State::Dead),
        attempts: found.get(1)?,
        at: found.get(2)?,
        result: found.get::<_, Option<Vec<u8>>>(3)?.map(Arc::from),
        error: reason.zip(message).map(|(reason, message)| Failure::new(reason, message)),
        trail: trail.map(unpacked_trail).transpose()?,
    })
}

/// Events after a journal entry, oldest first, about `limit` of them.
fn events(connection: &Connection, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error> {
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
    let mut statement = connection.prepare_cached(
        "SELECT row, id, created, ready_at, spec, length(payload) FROM task WHERE row = ?1",
    )?;
    let mut found = statement.query_and_then([row], enqueued)?;
    let Some(task) = found.next().transpose()? else { return Ok(None) };
    let alive = task.clone().task();
    Ok(Some(ending(connection, task, WHOLE)?.unwrap_or(alive)))
}
