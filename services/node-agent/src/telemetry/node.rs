//! What the host has: read once.

use nova_types::Timestamp;
use procfs::{CpuInfo, Current as _, CurrentSI as _, KernelStats};
use sysinfo::System;

/// A host. What it does not tell is empty or zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Host name.
    pub id: String,
    /// Operating system and version.
    pub os: String,
    /// Kernel version.
    pub kernel: String,
    /// Machine architecture, such as `x86_64`.
    pub architecture: String,
    /// Model of the CPU.
    pub cpu_model: String,
    /// Logical CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// When the host started.
    pub boot_time: Timestamp,
}

/// Reads it.
pub(crate) fn read() -> Node {
    let cpus = KernelStats::current().map_or(0, |stats| stats.cpu_time.len());
    let model = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    let boot_seconds = procfs::boot_time_secs().ok().and_then(|seconds| i64::try_from(seconds).ok());
    Node {
        id: System::host_name().unwrap_or_default(),
        os: System::long_os_version().unwrap_or_default(),
        kernel: System::kernel_version().unwrap_or_default(),
        architecture: System::cpu_arch(),
        cpu_model: model.unwrap_or_default(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory: super::kernel::read().memory_total,
        boot_time: Timestamp::from_micros(boot_seconds.unwrap_or(0).saturating_mul(1_000_000)),
    }
}
