//! CPU, memory and load, from /proc.

use procfs::{Current as _, CurrentSI as _, KernelStats, LoadAverage, Meminfo, ProcResult};

/// What the kernel counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kernel {
    /// Time of all CPUs since boot.
    pub cpu: CpuTimes,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Memory, bytes.
    pub memory_total: u64,
    /// Memory that can be had without swapping, bytes.
    pub memory_available: u64,
    /// Swap in use, bytes.
    pub swap_used: u64,
}

/// Time of all CPUs since boot, clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// All of it.
    pub total: u64,
    /// Time with something to do. Waiting for a disk is not.
    pub busy: u64,
}

impl Kernel {
    /// Memory in use: total less available, bytes.
    pub fn memory_used(&self) -> u64 {
        self.memory_total.saturating_sub(self.memory_available)
    }
}

impl CpuTimes {
    /// Share of the time since `earlier` that was busy, 0 to 1; none when no time has passed.
    pub fn utilization_since(self, earlier: Self) -> Option<f64> {
        let total = self.total.checked_sub(earlier.total).filter(|total| *total > 0)?;
        // The kernel may take idle time back; a share out of range would be worse than a coarse one.
        Some((self.busy.saturating_sub(earlier.busy) as f64 / total as f64).clamp(0.0, 1.0))
    }
}

/// Reads them; empty when /proc does not say.
pub(crate) fn read() -> Kernel {
    read_all().unwrap_or_else(|error| {
        tracing::debug!(%error, "the kernel's counters cannot be read");
        Kernel::default()
    })
}

fn read_all() -> ProcResult<Kernel> {
    let (memory, load) = (Meminfo::current()?, LoadAverage::current()?);
    Ok(Kernel {
        cpu: cpu_times()?,
        // The kernel writes two digits; through single precision they would become many.
        load: [load.one, load.five, load.fifteen].map(|load| (f64::from(load) * 100.0).round() / 100.0),
        memory_total: memory.mem_total,
        memory_available: memory.mem_available.unwrap_or(memory.mem_free),
        swap_used: memory.swap_total.saturating_sub(memory.swap_free),
    })
}

fn cpu_times() -> ProcResult<CpuTimes> {
    let cpu = KernelStats::current()?.total;
    let known = |ticks: Option<u64>| ticks.unwrap_or(0);
    let busy = cpu.user + cpu.nice + cpu.system + known(cpu.irq) + known(cpu.softirq) + known(cpu.steal);
    Ok(CpuTimes { total: busy + cpu.idle + known(cpu.iowait), busy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(total: u64, busy: u64) -> CpuTimes {
        CpuTimes { total, busy }
    }

    #[test]
    fn utilization_is_the_busy_share_since_the_sample_before() {
        assert_eq!(times(300, 150).utilization_since(times(100, 100)), Some(0.25));
        assert_eq!(times(100, 100).utilization_since(times(100, 100)), None);
        assert_eq!(times(300, 90).utilization_since(times(100, 100)), Some(0.0));
    }
}
