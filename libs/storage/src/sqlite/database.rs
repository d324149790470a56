//! The handle that callers hold.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::job::{Job, Write};
use super::readers::Readers;
use super::{open_writer, writer};
use crate::Error;

/// Sizes of a [`Database`]. The default fits a daemon.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Writes that may wait for the writer before more are refused.
    pub buffer: usize,
    /// Most writes that one transaction takes.
    pub group: usize,
    /// Connections for reading.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { buffer: 4_096, group: 512, readers: 4 }
    }
}

/// What a database has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Calls of `write` that were taken up.
    pub writes: u64,
    /// Transactions that they went down in.
    pub commits: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) commits: AtomicU64,
}

/// An open database. Clones share it; the writer thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    writer: mpsc::Sender<Box<dyn Job>>,
    capacity: usize,
    readers: Readers,
    counters: Arc<Counters>,
    /// Held by the writer thread: closed once it has ended.
    ended: mpsc::Sender<()>,
}

impl Database {
    /// Opens `path`, creating the file when it is missing (its folder must exist), and migrates it as
    /// [`open_writer`] does. Blocks: call it while starting up.
    ///
    /// # Errors
    /// See [`open_writer`].
    pub fn open(path: &Path, migrations: &[&str]) -> Result<Self, Error> {
        Self::open_with(path, migrations, Options::default())
    }

    /// [`Database::open`] with sizes of the caller's choice.
    ///
    /// # Errors
    /// See [`open_writer`].
    pub fn open_with(path: &Path, migrations: &[&str], options: Options) -> Result<Self, Error> {
        let connection = open_writer(path, migrations)?;
        let (writer, jobs) = mpsc::channel(options.buffer);
        let (ended, end) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        writer::spawn(thread_name(path), connection, jobs, options.group, Arc::clone(&counters), end)
            .map_err(|source| Error::NoThread { path: path.to_owned(), source: Arc::new(source) })?;
        let readers = Readers::new(path.to_owned(), options.readers);
        let capacity = options.buffer;
        Ok(Self {
            shared: Arc::new(Shared { path: path.to_owned(), writer, capacity, readers, counters, ended }),
        })
    }

    /// Runs `closure` inside the next transaction and returns what it returned, once it is on the disk.
    ///
    /// The closure must not begin, commit or roll back; it may run statements only. If it fails or panics,
    /// what it wrote is undone. It runs even if the returned future is dropped.
    ///
    /// # Errors
    /// The closure's own error; [`Error::Overloaded`] when the buffer is full; any other [`Error`] when
    /// the transaction failed.
    pub async fn write<F, T, E>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.write_then(closure, |_| ()).await
    }

    /// [`Database::write`], and `then` with the closure's value right after the commit, on the writer
    /// thread, in the order of commits, even if nobody waits any more. It must be short.
    ///
    /// # Errors
    /// See [`Database::write`]; `then` does not run.
    pub async fn write_then<F, N, T, E>(&self, closure: F, then: N) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        N: FnOnce(&T) + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = Write::new(closure, then);
        self.shared.writer.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded { capacity: self.shared.capacity },
            TrySendError::Closed(_) => Error::Closed,
        })?;
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// Runs `closure` on a read-only connection; it sees one snapshot, with every write acknowledged so far.
    ///
    /// # Errors
    /// The closure's own error; [`Error::Overloaded`] when too many reads wait.
    pub async fn read<F, T, E>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.shared.readers.read(closure).await
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// What was written so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            writes: self.shared.counters.writes.load(Ordering::Relaxed),
            commits: self.shared.counters.commits.load(Ordering::Relaxed),
        }
    }

    /// Gives this handle up. When it was the last one, waits until the writer has answered everything
    /// and closed the file.
    pub async fn close(self) {
        let ended = self.shared.ended.clone();
        if Arc::into_inner(self.shared).is_some() {
            ended.closed().await;
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// The kernel shows 15 characters of a thread's name.
fn thread_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("db-{}", stem.chars().filter(|character| *character != '\0').take(12).collect::<String>())
}
