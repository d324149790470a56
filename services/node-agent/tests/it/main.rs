//! The node agent, as its callers see it: real processes, through the real server.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod access;
mod bad_input;
mod crash;
mod endings;
mod fixture;
mod handover;
mod identity;
mod logs;
mod restarts;
mod starting;
mod telemetry;
mod watching;
