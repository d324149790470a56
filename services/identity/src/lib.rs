//! The identity daemon.

#![warn(missing_docs)]

pub mod authority;
