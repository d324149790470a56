//! `host.cpu`: the processors, how busy they are, and what a container may use of them.

use std::thread;

use serde::Serialize;
use sysinfo::{CpuRefreshKind, RefreshKind, System};

use super::unreadable;
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// The processors of this host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CpuFinding {
    /// Name that the maker gave the processor.
    pub model: String,
    /// Instruction set, such as `x86_64`.
    pub architecture: String,
    /// Logical processors.
    pub logical: usize,
    /// Cores, where the host tells.
    pub physical: Option<usize>,
    /// Highest present frequency, in MHz.
    pub frequency_mhz: u64,
    /// How busy all of them were over a fifth of a second, in percent.
    pub busy_percent: f64,
    /// Runnable processes, averaged over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Processors that this control group may use; unset without a limit.
    pub quota: Option<f64>,
    /// Version of the kernel.
    pub kernel: Option<String>,
    /// Name and version of the system.
    pub system: Option<String>,
}

/// Serves `host.cpu`.
pub fn run(_: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine()?)
}

/// Looks at the processors; takes a fifth of a second.
pub fn examine() -> Result<CpuFinding, SkillError> {
    let kind = RefreshKind::nothing().with_cpu(CpuRefreshKind::everything());
    let mut system = System::new_with_specifics(kind).map_err(unreadable("the processors"))?;
    thread::sleep(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL);
    system.refresh_cpu_usage();
    let load = System::load_average().map_err(unreadable("the load"))?;
    let cpus = system.cpus();
    Ok(CpuFinding {
        model: cpus.first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
        architecture: System::cpu_arch(),
        logical: cpus.len(),
        physical: System::physical_core_count().ok(),
        frequency_mhz: cpus.iter().map(sysinfo::Cpu::frequency).max().unwrap_or(0),
        busy_percent: text::percent(f64::from(system.global_cpu_usage()), 100.0),
        load: [load.one, load.five, load.fifteen],
        quota: std::fs::read_to_string("/sys/fs/cgroup/cpu.max").ok().and_then(|limit| quota(&limit)),
        kernel: System::kernel_version().ok(),
        system: System::long_os_version().ok(),
    })
}

/// Reads `cpu.max`: `<quota µs> <period µs>`, or `max <period>`.
fn quota(limit: &str) -> Option<f64> {
    let (quota, period) = limit.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (period > 0.0).then(|| quota / period)
}

impl Finding for CpuFinding {
    fn summary(&self) -> String {
        let quota = self
            .quota
            .map(|quota| format!(", limited to {quota:.1} by their control group"))
            .unwrap_or_default();
        let model = if self.model.is_empty() { "unnamed processor" } else { &self.model };
        format!(
            "{} ({model}, {}){quota}; {:.0} % busy, load {:.2} {:.2} {:.2}; {}",
            text::count(self.logical as u64, "logical CPU"),
            self.architecture,
            self.busy_percent,
            self.load[0],
            self.load[1],
            self.load[2],
            self.system.as_deref().unwrap_or("unknown system"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_processor() {
        let finding = examine().unwrap();
        assert!(finding.logical >= 1);
        assert!((0.0..=100.0).contains(&finding.busy_percent), "{}", finding.busy_percent);
    }

    #[test]
    fn quota_is_processors() {
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
    }
}
