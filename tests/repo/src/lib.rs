//! What the rules of the house are checked with: the files of this repository, Rust sources
//! without their comments and tests, Markdown, and the contracts.
//!
//! The rules themselves are the tests of this crate, one file per rule in `tests/it`.

#![warn(missing_docs)]

pub mod contracts;
pub mod files;
pub mod functions;
pub mod markdown;
pub mod rust;
