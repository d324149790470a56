//! What the host is: processors, memory, disks, accelerators, network, listening ports.

pub mod cpu;
pub mod disk;
pub mod gpu;
pub mod memory;
pub mod network;
pub mod ports;

use sysinfo::Error as ProbeError;

use super::SkillError;

/// What could not be asked of the host.
fn unreadable(what: &str) -> impl FnOnce(ProbeError) -> SkillError {
    let what = what.to_owned();
    move |error| SkillError::Host { what, source: std::io::Error::other(error.to_string()) }
}
