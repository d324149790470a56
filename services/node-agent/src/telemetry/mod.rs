//! What the host has and how it does.
//!
//! A [`Sampler`] asks its collectors side by side, each off the runtime's threads and with a deadline of its own: one that
//! hangs (a file system whose server is away, a driver in trouble) leaves its part of the sample empty, and is not
//! asked again before it has come back. On Linux's hot path the collectors read /proc themselves; sysinfo is for what is
//! asked rarely and differs between systems.

mod collector;
mod filesystems;
mod gauges;
mod gpu;
mod kernel;
mod network;
mod node;
mod pressure;
mod sampler;

use std::collections::BTreeMap;

use nova_types::Timestamp;

pub use filesystems::Filesystem;
pub use gpu::Gpu;
pub use kernel::{CpuTimes, Kernel};
pub use network::Interface;
pub use node::Node;
pub use sampler::{Sample, Sampler};

pub(crate) use gauges::register;

/// What the collectors said, each part empty when it was not there in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// When they were asked.
    pub time: Timestamp,
    /// CPU, memory and load.
    pub kernel: Kernel,
    /// Mounted file systems.
    pub filesystems: Vec<Filesystem>,
    /// Network interfaces, by name.
    pub interfaces: Vec<Interface>,
    /// Accelerators, by index.
    pub gpus: Vec<Gpu>,
    /// Share of the last 10 s in which some task waited, 0 to 1, by resource.
    pub pressure: BTreeMap<String, f64>,
}
