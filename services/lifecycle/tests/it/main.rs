//! The daemon through its RPCs, and runs that are killed at any point.

mod agents;
mod fake_mesh;
mod fuse;
mod hostile_input;
mod killed_runs;
mod runs;
mod server;
mod sessions;
