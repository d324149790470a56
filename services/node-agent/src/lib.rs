//! The node agent: one per host. It tells what the host has and how it does, and runs the agents' processes.

#![warn(missing_docs)]

pub mod config;
pub mod credentials;
pub mod error;
pub mod process;
