//! Processor time and memory of processes, as `/proc` tells them. One that has ended counts as nothing, but for the
//! time that its parent has taken over.

use std::collections::BTreeSet;
use std::fs;

use nova_testkit::pss_bytes;

/// Ticks of a second in `/proc/<pid>/stat`: USER_HZ, 100 on every Linux that runs this.
const TICKS: f64 = 100.0;

/// Places of the fields behind the name in `/proc/<pid>/stat`.
const PARENT: usize = 1;
const TIMES: std::ops::Range<usize> = 11..15;

/// Processor seconds of `roots` and all below them, those that have ended included.
pub(crate) fn cpu_seconds(roots: &[u32]) -> f64 {
    let ticks: u64 = with_descendants(roots).iter().map(|pid| ticks(*pid)).sum();
    ticks as f64 / TICKS
}

/// Bytes of `roots` and all below them: PSS, which counts what processes share once.
pub(crate) fn memory_bytes(roots: &[u32]) -> f64 {
    let bytes: u64 = with_descendants(roots).iter().filter_map(|pid| pss_bytes(*pid)).sum();
    bytes as f64
}

/// This process.
pub(crate) fn own() -> u32 {
    std::process::id()
}

fn with_descendants(roots: &[u32]) -> BTreeSet<u32> {
    let parents = parents();
    let mut found: BTreeSet<u32> = roots.iter().copied().collect();
    // The bench starts the servers, which are not its own: it is a root without descendants.
    let mut new: Vec<u32> = roots.iter().copied().filter(|root| *root != own()).collect();
    while let Some(parent) = new.pop() {
        let children = parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child);
        new.extend(children.filter(|child| found.insert(*child)));
    }
    found
}

/// Every process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, fields(pid)?.get(PARENT)?.parse().ok()?))).collect()
}

/// User and system time, its own and that of children that have ended.
fn ticks(pid: u32) -> u64 {
    let times = if pid == own() { TIMES.start..TIMES.start + 2 } else { TIMES };
    let fields = fields(pid).unwrap_or_default();
    fields.get(times).unwrap_or_default().iter().filter_map(|time| time.parse::<u64>().ok()).sum()
}

/// The fields behind the name, which may hold anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_taken_memory_and_knows_its_parent() {
        assert!(memory_bytes(&[own()]) > 100_000.0);
        assert!(parents().iter().any(|(pid, parent)| *pid == own() && *parent > 0));
    }

    #[test]
    fn time_that_was_spent_is_counted() {
        let before = cpu_seconds(&[own()]);
        let spent = (0..u64::MAX).find(|_| cpu_seconds(&[own()]) > before);
        assert!(spent.is_some());
    }
}
