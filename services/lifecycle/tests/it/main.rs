//! The daemon through its RPCs, and runs that are killed at any point.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod beginnings;
mod cancelled_runs;
mod dropped_calls;
mod fake_mesh;
mod fuse;
mod hostile_input;
mod killed_runs;
mod large_runs;
mod leases;
mod retention;
mod runs;
mod server;
mod sessions;
mod shared_agents;
