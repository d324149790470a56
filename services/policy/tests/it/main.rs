//! The policy daemon as its callers see it: a real server, a real store, a real client.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod decisions;
mod explain;
mod garbage;
mod harness;
mod input;
mod lockout;
mod modules;
mod redis;
mod watch;
