//! Claims about the worker, against a queue whose every word the test says.

mod drain;
mod fake_queue;
mod leases;
mod settlements;
