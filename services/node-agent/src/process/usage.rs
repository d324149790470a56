//! What a process and its descendants used, from samples of the whole process table.
//!
//! CPU time counts the living members of the group and the children they waited for; what a member used that died
//! unwaited between two samples is lost. The peak of memory is the kernel's own for each member (`VmHWM`), so that one
//! between two samples is not lost; or what the members held together at a sample, where that is more.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::stat::{self, Stat};
use super::status::Usage;

/// What one group uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    cpu_ticks: u64,
    resident_pages: u64,
    /// Largest peak of one process, bytes.
    peak_bytes: u64,
}

impl Sample {
    pub(crate) fn add(&mut self, stat: &Stat) {
        self.cpu_ticks += stat.cpu_ticks;
        self.resident_pages += stat.resident_pages;
        self.peak_bytes = self.peak_bytes.max(stat::peak_bytes(stat.pid).unwrap_or_default());
    }
}

/// Samples groups, by their leader's pid, in one pass over the host.
pub(crate) fn sample_groups(leaders: &HashSet<i32>) -> HashMap<i32, Sample> {
    let mut groups: HashMap<i32, Sample> = HashMap::new();
    for stat in stat::all().filter(|stat| leaders.contains(&stat.group)) {
        groups.entry(stat.group).or_default().add(&stat);
    }
    groups
}

/// The account of one supervised process, over all its starts.
#[derive(Debug, Default)]
pub(crate) struct Account(Mutex<Totals>);

#[derive(Debug, Default)]
struct Totals {
    earlier_ticks: u64,
    current_ticks: u64,
    max_bytes: u64,
    current_pages: u64,
}

impl Account {
    /// Takes a sample of the present start in. What was counted once is never taken back.
    pub(crate) fn record(&self, sample: Sample) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.current_ticks = totals.current_ticks.max(sample.cpu_ticks);
        let together = sample.resident_pages * procfs::page_size();
        totals.max_bytes = totals.max_bytes.max(together).max(sample.peak_bytes);
        totals.current_pages = sample.resident_pages;
    }

    /// Closes the present start's account.
    pub(crate) fn close(&self) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.earlier_ticks += std::mem::take(&mut totals.current_ticks);
        totals.current_pages = 0;
    }

    /// What was used so far.
    pub(crate) fn usage(&self) -> Usage {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ticks = totals.earlier_ticks + totals.current_ticks;
        let per_second = procfs::ticks_per_second().max(1);
        Usage {
            cpu_time: Duration::from_millis(ticks * 1_000 / per_second),
            max_memory_bytes: totals.max_bytes,
        }
    }

    /// Resident memory at the last sample, bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).current_pages * procfs::page_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_ticks: u64, resident_pages: u64) -> Sample {
        Sample { cpu_ticks, resident_pages, peak_bytes: 0 }
    }

    #[test]
    fn usage_adds_up_over_starts_and_never_falls() {
        let account = Account::default();
        account.record(sample(100, 7));
        account.record(sample(60, 3));
        account.close();
        account.record(sample(100, 5));
        assert_eq!(account.usage().cpu_time, Duration::from_millis(200_000 / procfs::ticks_per_second()));
        assert_eq!(account.usage().max_memory_bytes, 7 * procfs::page_size());
        assert_eq!(account.memory_bytes(), 5 * procfs::page_size());
    }

    #[test]
    fn a_peak_between_two_samples_is_not_lost() {
        let account = Account::default();
        account.record(Sample { peak_bytes: 1 << 30, ..sample(1, 1) });
        assert_eq!(account.usage().max_memory_bytes, 1 << 30);
    }

    #[test]
    fn the_kernel_tells_the_peak_of_a_group() {
        let own = Stat::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let sample = sample_groups(&HashSet::from([own.group]))[&own.group];
        assert!(sample.peak_bytes > 0, "{sample:?}");
    }
}
