//! Where the queue daemon's time goes under a load, as `perf` samples it: by category, by thread, by symbol.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::figures::{Figures, Measured};
use crate::job::{CONCURRENCY, Job};
use crate::nova::{NovaSystem, StoreKind, Variant};
use crate::plan::Plan;
use crate::system::System as _;

/// Samples a second and core: no multiple of what a timer would do.
const FREQUENCY: &str = "499";

/// Symbols that are printed.
const SYMBOLS: usize = 15;

/// Parts of a symbol's name, and what it is counted as: the first that fits. What is inlined counts where it is.
const CATEGORIES: &[(&str, &[&str])] = &[
    (
        "crypto",
        &["ring_core", "aes_", "gcm_", "chacha", "poly1305", "sha256", "sha512", "rustls", "ring::", "ghash"],
    ),
    (
        "allocator",
        &["malloc", "free", "calloc", "realloc", "_int_", "unlink_chunk", "__rust_alloc", "__rust_dealloc"],
    ),
    ("sqlite", &["sqlite3", "Sqlite", "rusqlite", "pcache1", "btree", "walIndex", "Vdbe"]),
    ("protobuf", &["prost"]),
    ("policy", &["nova_authz", "nova_policy", "cel::", "regorus"]),
    ("tracing", &["tracing", "opentelemetry", "sharded_slab", "nova_rpc::trace"]),
    ("queue", &["nova_queue"]),
    ("redis", &["redis::"]),
    ("http2", &["h2::", "hyper", "tonic", "http::", "http_body", "tower", "nova_rpc", "nova_runtime"]),
    ("tokio", &["tokio", "futures", "mio::"]),
    ("memory", &["memcpy", "memmove", "memset", "memcmp", "bytes::"]),
];

/// Samples of one symbol in one kind of thread.
#[derive(Debug)]
struct Line {
    percent: f64,
    thread: String,
    symbol: String,
    in_kernel: bool,
}

/// Samples the unary load over each of these stores.
pub(crate) async fn measure(
    stores: impl Iterator<Item = StoreKind>,
    plan: &Plan,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    if crate::peers::step(Command::new("perf").arg("--version")).is_err() {
        figures.skip("profile", "perf is not installed (Debian: linux-perf)");
        return Ok(());
    }
    for store in stores {
        let mut system = NovaSystem::open(store, Variant::Tls, &plan.settings())?;
        match sample(&mut system, plan).await {
            Ok(lines) => note(&system, plan, &lines, figures),
            Err(why) => figures.skip("profile", &format!("{why:#}")),
        }
    }
    Ok(())
}

async fn sample(system: &mut NovaSystem, plan: &Plan) -> anyhow::Result<Vec<Line>> {
    system.run(&Job::lives(CONCURRENCY, 1, plan.warm_up)).await?;
    let folder = tempfile::tempdir()?;
    let samples = folder.path().join("samples");
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--freq", FREQUENCY, "--pid", &system.queue_process().to_string()]);
    perf.arg("--output").arg(&samples).args(["--", "sleep", &plan.seconds.to_string()]);
    let mut perf = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let done = system.run(&Job::lives(CONCURRENCY, 1, plan.seconds)).await;
    // It ends with its `sleep`, which is as long as the load.
    let status = perf.wait()?;
    done?;
    ensure!(status.success(), "perf record ended with {status}: it may not be allowed to sample");
    report(&samples)
}

fn report(samples: &Path) -> anyhow::Result<Vec<Line>> {
    let mut perf = Command::new("perf");
    perf.args(["report", "--stdio", "--quiet", "--no-children", "--sort", "comm,dso,symbol"]);
    perf.args(["--percent-limit", "0", "--field-separator", "\t", "--input"]).arg(samples);
    let output = perf.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "perf report ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Line> = text.lines().filter_map(line).collect();
    (!lines.is_empty()).then_some(lines).context("perf took no samples")
}

/// `12.34%⇥queue-engine⇥nova⇥[.] sqlite3VdbeExec⇥…`.
fn line(text: &str) -> Option<Line> {
    let mut fields = text.split('\t').map(str::trim);
    let percent = fields.next()?.strip_suffix('%')?.parse().ok()?;
    let (thread, _, symbol) = (fields.next()?, fields.next()?, fields.next()?);
    let (mode, symbol) = symbol.split_once(' ')?;
    let (thread, symbol) = (thread.to_owned(), symbol.trim().to_owned());
    Some(Line { percent, thread, symbol, in_kernel: mode == "[k]" })
}

fn category(line: &Line) -> &'static str {
    if line.in_kernel {
        return "kernel";
    }
    let fits = |parts: &[&str]| parts.iter().any(|part| line.symbol.contains(part));
    CATEGORIES.iter().find(|(_, parts)| fits(parts)).map_or("other", |(name, _)| name)
}

fn note(system: &NovaSystem, plan: &Plan, lines: &[Line], figures: &mut Figures) {
    let job = Job::lives(CONCURRENCY, 1, plan.seconds);
    let settings = format!("share of the queue daemon's samples, {FREQUENCY} Hz; {job}");
    figures.describe(system.name(), &system.settings());
    let of = Measured { scenario: "profile", system: system.name(), settings: &settings };
    for (what, key) in [("category", category as fn(&Line) -> &str), ("thread", |line| line.thread.as_str())]
    {
        for (name, percent) in shares(lines, key) {
            figures.add(&of, &format!("{what} {name}"), percent, "%");
        }
    }
    for (symbol, percent) in shares(lines, |line| &line.symbol).into_iter().take(SYMBOLS) {
        figures.remark(format!("{}: {percent:5.2} % {symbol}", system.name()));
    }
}

/// What each has in all, the largest first.
fn shares(lines: &[Line], key: impl Fn(&Line) -> &str) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for line in lines {
        *sums.entry(key(line)).or_default() += line.percent;
    }
    let mut shares: Vec<_> = sums.into_iter().map(|(name, percent)| (name.to_owned(), percent)).collect();
    shares.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "
    30.00%\tqueue-engine\tnova\t[.] sqlite3VdbeExec   \t-      -
    20.50%\ttokio-rt-worker\tnova\t[.] <[u8; 4] as prost::Message>::encode
    10.00%\ttokio-rt-worker\t[kernel.kallsyms]\t[k] 0xffffffff81a00f00
     5.50%\tqueue-engine\tlibc.so.6\t[.] malloc
";

    #[test]
    fn samples_are_counted_by_category_and_thread() {
        let lines: Vec<Line> = REPORT.lines().filter_map(line).collect();
        let categories = shares(&lines, |line| category(line));
        let names: Vec<_> = categories.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sqlite", "protobuf", "kernel", "allocator"]);
        assert_eq!(shares(&lines, |line| &line.thread)[0], ("queue-engine".to_owned(), 35.5));
    }
}
