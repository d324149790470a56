//! A bounded pool of read-only connections, used on blocking threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection::open_reader;
use crate::Error;

/// How many reads may wait for a connection before more are refused.
const WAITING: usize = 4_096;

pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One permit per connection that may be in use.
    connections: Arc<Semaphore>,
    /// One permit per read that is running or waiting.
    waiting: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf, size: usize) -> Self {
        Self {
            path,
            idle: Arc::default(),
            connections: Arc::new(Semaphore::new(size)),
            waiting: Semaphore::new(size + WAITING),
        }
    }

    /// Runs the closure on a blocking thread, inside a read transaction: it sees one snapshot.
    pub(super) async fn read<F, T, E>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let _place = self.waiting.try_acquire().map_err(|_| Error::Overloaded { capacity: WAITING })?;
        let permit = Arc::clone(&self.connections).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let run = move || {
            let connection = match take(&idle) {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            let result = snapshot(&connection, closure);
            // A connection whose transaction could not be ended is closed, not handed on.
            if connection.is_autocommit() {
                give_back(&idle, connection);
            }
            drop(permit);
            result
        };
        // The task is lost when the closure panicked or the runtime is going away.
        tokio::task::spawn_blocking(run)
            .await
            .unwrap_or_else(|lost| Err(if lost.is_panic() { Error::Panicked } else { Error::Closed }.into()))
    }
}

fn snapshot<F, T, E>(connection: &Connection, closure: F) -> Result<T, E>
where
    F: FnOnce(&Connection) -> Result<T, E>,
    E: From<Error>,
{
    let transaction = connection.unchecked_transaction().map_err(Error::from)?;
    let result = closure(&transaction);
    transaction.finish().map_err(Error::from)?;
    result
}

fn take(idle: &Mutex<Vec<Connection>>) -> Option<Connection> {
    idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give_back(idle: &Mutex<Vec<Connection>>, connection: Connection) {
    idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
}
