//! Claims about the worker, against a queue whose every word the test says.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod drain;
mod fake_queue;
mod leases;
mod settlements;
