//! The queue in processes that are killed, stopped and cut off, under load.
//!
//! Each test records what its clients are told and gives the history to the checker. `NOVA_TEST_FULL=1` makes
//! each of them longer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caller;
mod daemon;
mod doubt;
mod failover;
mod flood;
mod kills;
mod leaders;
mod load;
mod losses;
mod operator;
mod outages;
mod power;
mod producer;
mod promotion;
mod proxy;
mod rest;
mod silent;
mod strace;
mod stream;
mod words;
mod worker;
