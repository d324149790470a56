//! Claims about the worker: against a queue whose every word the test says, and against the real daemon.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod drain;
mod ends;
mod fake_queue;
mod layers;
mod leases;
mod life;
mod outage;
mod produce;
mod real_queue;
mod reports;
mod settlements;
mod trace;
