//! A real mesh: how long `nova up` takes, and what memory its processes share.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use nova_testkit::Nova;

use crate::figures::{Figures, MEBIBYTE, Measured};
use crate::nova::SYSTEMS;

/// Share of calls outside of any trace that begin a new one.
const TRACE_RATIO: &str = "NOVA_RUNTIME__TELEMETRY__TRACE_RATIO";
/// Settings of the queue, by the name of their variable; those that are not named keep their default.
pub(crate) type Settings = Vec<(&'static str, u64)>;

/// Tasks that the queue may hold.
pub(crate) const MAX_TASKS: &str = "NOVA_QUEUE__MAX_TASKS";
/// Ended tasks that it keeps.
pub(crate) const KEEP_FINISHED: &str = "NOVA_QUEUE__KEEP_FINISHED";
/// Calls that may wait for a commit.
pub(crate) const MAX_WAITING_CALLS: &str = "NOVA_QUEUE__MAX_WAITING_CALLS";

/// A folder beside the build, on a disk that syncs.
pub(crate) fn scratch() -> anyhow::Result<PathBuf> {
    let bench = std::env::current_exe().context("this executable has no path")?;
    let target = bench.ancestors().nth(2).context("this executable lies in target/<profile>")?;
    let folder = target.join("tmp");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Brings a mesh up over `store`, with further arguments, and answers once it is ready. It goes down with the answer.
/// Every call is traced where there is a collector at the end, which the mesh passes all spans on to.
pub(crate) fn up(
    store: &str,
    arguments: &[&str],
    collector: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<Nova> {
    let nova = Nova::new();
    let mut command = nova.command(&["--json", "up", "--store", store]);
    command.args(arguments);
    command.args(collector.iter().flat_map(|endpoint| ["--otlp", endpoint]));
    command.env(TRACE_RATIO, if collector.is_some() { "1" } else { "0" });
    command.envs(settings.iter().map(|(name, value)| (*name, value.to_string())));
    let output = command.output()?;
    ensure!(output.status.success(), "nova up failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(nova)
}

/// Start and memory: brings a mesh up `starts` times, of which the median counts.
pub(crate) fn measure(starts: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let mut seconds = Vec::new();
    let mut bytes = 0.0_f64;
    for _ in 0..starts {
        let started = Instant::now();
        let nova = up("sqlite", &[], None, &Settings::new())?;
        seconds.push(started.elapsed().as_secs_f64());
        let status = nova.run(&["--json", "status"]).json();
        bytes = bytes.max(status["memory_bytes"].as_f64().context("status tells memory_bytes")?);
    }
    seconds.sort_unstable_by(f64::total_cmp);
    let settings =
        format!("a fresh home each time, median of {starts}; PSS of all daemons and the supervisor, idle");
    let of = Measured { scenario: "mesh", system: SYSTEMS[0], settings: &settings };
    figures.add(&of, "ready", seconds[starts / 2], "s");
    figures.add(&of, "memory", bytes / MEBIBYTE, "MiB");
    Ok(())
}
