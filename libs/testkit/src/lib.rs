//! nova-testkit

pub mod redis;
