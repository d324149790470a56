//! `host.memory`: the memory, what is left of it, and what a container may use.

use serde::Serialize;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::unreadable;
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// The memory of this host, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryFinding {
    /// Installed.
    pub total: u64,
    /// What new work can have.
    pub available: u64,
    /// Swap space.
    pub swap_total: u64,
    /// Swap space in use.
    pub swap_used: u64,
    /// Most that this control group may use; unset without a limit.
    pub limit: Option<u64>,
    /// What this control group uses, where there are control groups.
    pub used_in_limit: Option<u64>,
}

/// Serves `host.memory`.
pub fn run(_: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine()?)
}

/// Looks at the memory.
pub fn examine() -> Result<MemoryFinding, SkillError> {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    let system = System::new_with_specifics(kind).map_err(unreadable("the memory"))?;
    Ok(MemoryFinding {
        total: system.total_memory(),
        available: system.available_memory(),
        swap_total: system.total_swap(),
        swap_used: system.used_swap(),
        limit: group("memory.max"),
        used_in_limit: group("memory.current"),
    })
}

/// A number of this control group; `max` is none.
fn group(file: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?.trim().parse().ok()
}

impl Finding for MemoryFinding {
    fn summary(&self) -> String {
        let limit = self
            .limit
            .map(|limit| format!(", limited to {} by its control group", text::bytes(limit)))
            .unwrap_or_default();
        let swap = match self.swap_total {
            0 => "no swap".to_owned(),
            total => format!("{} of {} swap used", text::bytes(self.swap_used), text::bytes(total)),
        };
        format!(
            "{} of memory{limit}, {} available ({:.0} %); {swap}",
            text::bytes(self.total),
            text::bytes(self.available),
            text::percent(self.available as f64, self.total as f64),
        )
    }

    fn importance(&self) -> f64 {
        if self.available.saturating_mul(10) < self.total { 0.8 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_memory_left() {
        let finding = examine().unwrap();
        assert!(finding.total >= finding.available && finding.available > 0);
        assert!(finding.summary().contains("available"), "{}", finding.summary());
    }
}
