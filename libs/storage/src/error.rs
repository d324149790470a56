//! What can go wrong in a store, and whether trying again can help.

use std::path::PathBuf;
use std::sync::Arc;

use ::redis::{ErrorKind, RedisError, RetryMethod};
use rusqlite::ErrorCode;

/// Why a store could not do what it was asked. Cheap to clone: one failed commit answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The buffer in front of the store is full; nothing was done.
    #[error("the store is overloaded: {capacity} calls are waiting already")]
    Overloaded {
        /// How many calls the buffer holds.
        capacity: usize,
    },
    /// The store is shutting down; nothing was done.
    #[error("the store is closed")]
    Closed,
    /// The closure given to the store panicked; what it had written was undone.
    #[error("a panic inside a transaction undid it")]
    Panicked,
    /// An argument breaks a limit of the store.
    #[error("{what} {rule}")]
    Invalid {
        /// What was wrong: `key`, `value`, `limit`, …
        what: &'static str,
        /// The rule that it breaks, with the value.
        rule: String,
    },
    /// A commit came to be applied only after the time until which it was good; nothing was done.
    #[error("the commit came after its time")]
    TooLate,
    /// The change log no longer reaches back to this cursor: list everything, then follow from the
    /// revision of the list.
    #[error("cursor {after} has expired: the change log is whole only after revision {oldest}")]
    CursorExpired {
        /// The cursor that was asked for.
        after: u64,
        /// The oldest cursor that still works.
        oldest: u64,
    },
    /// The database file could not be opened.
    #[error("cannot open the database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file system cannot hold a write-ahead log (a network share, for example).
    #[error("the database {path} cannot use a write-ahead log: its journal mode stays {mode}")]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The mode that SQLite kept.
        mode: String,
    },
    /// The operating system gave no thread to write with.
    #[error("cannot start the thread that writes to {path}")]
    NoThread {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The file was written by a newer version of the program.
    #[error("the database {path} has schema version {found}, this program knows versions up to {known}")]
    SchemaTooNew {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: usize,
        /// Newest version that this program can read.
        known: usize,
    },
    /// SQLite failed.
    #[error("sqlite failed: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// Redis answered with an error, or the connection to it failed.
    #[error("redis failed: {0}")]
    Redis(Arc<RedisError>),
    /// Nothing usable answers at the address of Redis, or it does not let this program in.
    #[error("cannot reach redis at {address}: {}", said(cause))]
    RedisUnreachable {
        /// Host and port, without credentials.
        address: String,
        /// What the connection said. No source: the client names the operating system's words as a source of themselves.
        cause: Arc<RedisError>,
    },
    /// The server lacks functions, which came with Redis 7.0.
    #[error("redis at {address} is version {found}: version 7.0 or newer is needed")]
    RedisTooOld {
        /// Host and port, without credentials.
        address: String,
        /// The server's version.
        found: String,
    },
    /// The server would throw records away when its memory is full.
    #[error(
        "redis at {address} may evict data (maxmemory-policy is {policy}): set maxmemory-policy to noeviction"
    )]
    RedisEvicts {
        /// Host and port, without credentials.
        address: String,
        /// The server's policy.
        policy: String,
    },
    /// The server that was found to be the primary is a replica: it is being replaced, or was not promoted yet.
    #[error("redis at {address} is a replica: its primary is needed")]
    RedisReplica {
        /// Host and port, without credentials.
        address: String,
    },
    /// A write has not reached enough replicas in time. The primary has it.
    #[error("redis has applied a write that {found} replicas have: {wanted} are needed")]
    RedisUnreplicated {
        /// How many must have it.
        wanted: usize,
        /// How many said that they do.
        found: usize,
    },
    /// A stored record does not have the shape that this program writes.
    #[error("stored data is damaged: {what}")]
    Damaged {
        /// What was found where.
        what: String,
    },
}

impl Error {
    /// Whether the same call can succeed later without anybody changing anything in it.
    ///
    /// After an error of the connection the outcome of a write is unknown: repeat only what is idempotent.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::Closed => true,
            Self::RedisReplica { .. } | Self::RedisUnreplicated { .. } => true,
            Self::Sqlite(error) => sqlite_is_retryable(error),
            Self::Redis(cause) | Self::RedisUnreachable { cause, .. } => redis_is_retryable(cause),
            _ => false,
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// What a connection said, on one line.
fn said(cause: &RedisError) -> String {
    if cause.kind() == ErrorKind::Parse {
        return "what answers there does not speak the protocol of redis".to_owned();
    }
    cause.to_string().lines().collect::<Vec<_>>().join("; ")
}

fn sqlite_is_retryable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
        )
    )
}

/// A server out of memory (OOM) or busy with a long script (BUSY) recovers; so does a lost connection. A
/// wrong password does not, though the client would connect anew for it.
fn redis_is_retryable(error: &RedisError) -> bool {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return false;
    }
    error.kind() == ErrorKind::Io
        || matches!(error.code(), Some("OOM" | "BUSY" | "NOREPLICAS" | "READONLY" | "LOADING"))
        || !matches!(error.retry_method(), RetryMethod::NoRetry)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self::Redis(Arc::new(error))
    }
}

/// Why a [`crate::Commit`] was not applied. Nothing of it is in the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A check failed: the key is at another version than the caller believed.
    #[error("the key {key:?} was changed by somebody else")]
    Conflict {
        /// The first key whose check failed.
        key: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl CommitError {
    /// Whether the same commit can succeed later. A conflict cannot: read again and decide anew.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
