//! Where daemons keep their state: SQLite inside the process, or Redis beside it.
//!
//! - [`sqlite`]: a database file with one writer thread. Writes that arrive while a commit runs go
//!   down together in the next one: one transaction and one fsync for all of them.
//! - [`redis`]: one server, a cluster, or what sentinels watch: a connection that follows its keys, and Lua
//!   function libraries that load themselves.
//! - [`kv`]: a small versioned key-value store over both, for records that need conditions, atomic
//!   commits of several keys, ranges and a change log to follow.
//!
//! Invariants
//! - Nothing is acknowledged before it is committed: on SQLite fsynced, on Redis applied by the primary,
//!   and by as many replicas as its URL says.
//! - No buffer grows without bound: a full one answers [`Error::Overloaded`].
//! - A call that is dropped while it waits either happens wholly or not at all.
#![warn(missing_docs)]

mod error;
pub mod kv;
pub mod redis;
pub mod sqlite;

pub use error::{CommitError, Error};
pub use kv::{
    Change, Check, Commit, Entry, Fence, Kv, Overtaken, Range, RedisKv, Revision, SqliteKv, Write, fence,
};
