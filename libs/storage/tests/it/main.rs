//! The storage library from outside: one conformance suite over both engines, the group commit, crashes.

mod conformance;
mod crash;
mod group_commit;
mod readers;
mod redis_kv;
mod redis_store;
mod sqlite_files;
