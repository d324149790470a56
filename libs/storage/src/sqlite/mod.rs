//! SQLite with group commit.
//!
//! One named thread owns the writing connection. While it commits, calls gather in a bounded channel;
//! then all of them go down in one transaction, each inside its own savepoint, so that one that fails
//! leaves no trace and does not undo the others. Replies go out after the commit, never before. There
//! are no timers: a caller that is alone waits for nobody.
//!
//! Readers are separate read-only connections; each read sees one snapshot. Keep them short: a read
//! that stays open keeps the write-ahead log from being reused.
//!
//! A store with its own write path takes the raw pieces: [`open_writer`] and [`open_reader`].

mod connection;
mod database;
mod job;
mod readers;
mod writer;

pub use connection::{open_reader, open_writer};
pub use database::{Database, Options, Statistics};
