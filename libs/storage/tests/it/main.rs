//! The storage library from outside: one conformance suite over both engines, the group commit, crashes.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and spawns what it needs"
)]

mod conformance;
mod crash;
mod group_commit;
mod readers;
mod redis_failover;
mod redis_kv;
mod redis_store;
mod redis_tls;
mod sqlite_files;
