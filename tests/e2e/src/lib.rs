//! What the tests of the whole mesh call it with: every RPC by its descriptor ([`contracts`]),
//! raw bytes as messages ([`raw`]), messages out of chance ([`tape`]), and callers of every kind ([`callers`]).

#![warn(missing_docs)]

pub mod callers;
pub mod contracts;
pub mod line;
pub mod raw;
pub mod tape;
