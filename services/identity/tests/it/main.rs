//! The identity daemon as its callers see it, and its authority as the supervisor does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod authority;
mod certificates;
mod daemon;
mod denied;
mod garbage;
mod leases;
mod memories;
mod process;
mod search;
mod tokens;
