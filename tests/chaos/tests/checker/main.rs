//! The checker itself: histories written by hand, each with one thing in it that must not be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accuses;
mod story;
