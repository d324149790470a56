//! What agents found, kept and found again.
//!
//! The records are in the key-value store and are the truth. The full-text index is a projection of them into a local
//! file: it follows the store's log of changes, is brought up to date before each search, and can be thrown away.

mod follower;
mod memories;
mod query;
mod record;

pub(crate) use follower::Follower;
pub(crate) use memories::Memories;
pub(crate) use query::{Hit, Hits, Position, Search, words};
pub(crate) use record::{Draft, Memory, MemoryKind};
