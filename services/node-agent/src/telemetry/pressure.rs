//! Pressure stall information (PSI), from /proc/pressure.

use std::collections::BTreeMap;

use procfs::{CpuPressure, Current as _, IoPressure, MemoryPressure};

/// Share of the last 10 s in which some task waited, 0 to 1, by resource; empty where the kernel has no PSI.
pub(crate) fn read() -> BTreeMap<String, f64> {
    let shares = [
        ("cpu", CpuPressure::current().map(|pressure| pressure.some)),
        ("memory", MemoryPressure::current().map(|pressure| pressure.some)),
        ("io", IoPressure::current().map(|pressure| pressure.some)),
    ];
    let known = shares.into_iter().filter_map(|(resource, share)| Some((resource, share.ok()?)));
    known.map(|(resource, share)| (resource.to_owned(), f64::from(share.avg10) / 100.0)).collect()
}
