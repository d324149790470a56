//! What tests need and no daemon does: a Redis of their own, an OTLP collector, the real
//! `nova` command in a home of its own, a repository to examine. Never a runtime dependency.

pub mod collector;
pub mod eventually;
mod memory;
pub mod nova;
pub mod redis;
pub mod repository;
mod signals;

pub use collector::{Collector, Tree};
pub use eventually::{eventually, soon};
pub use memory::pss_bytes;
pub use nova::{Nova, Ran};
pub use signals::send;
