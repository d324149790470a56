//! Measures Nova, and its peers beside it: how fast a mesh comes up, what memory it takes, and how many whole
//! task lives (enqueue, lease, complete) its queue does a second.
//!
//! `cargo run --release -p nova-bench -- [--json] [--scenario NAME…] [--peers] [--seconds N]`
//!
//! [`mesh`] brings real meshes up, [`load`] drives a queue through its contract, [`peers`] do the same to other
//! queues, and [`figures`] prints what came out.

mod figures;
mod load;
mod mesh;
mod peers;
mod queue;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use figures::Figures;

/// Measure Nova on this machine. Build `nova` with the same profile first.
#[derive(Debug, Parser)]
struct Arguments {
    /// Print one JSON object a line and figure instead of a table.
    #[arg(long)]
    json: bool,
    /// Only these; all when none is named.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    scenario: Vec<Scenario>,
    /// Only Nova over this store; both when none is named.
    #[arg(long, value_name = "STORE")]
    store: Option<queue::StoreKind>,
    /// Measure other queues, too: each that is installed.
    #[arg(long)]
    peers: bool,
    /// Leave out the runs in which every call is traced.
    #[arg(long)]
    untraced: bool,
    /// How long each load lasts, before what is left of it is worked off.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Start and memory of a mesh.
    Mesh,
    /// One task a call, 128 and 256 callers.
    Unary,
    /// 64 tasks a call.
    Batched,
    /// How long enqueue, and enqueue to start, take at half of the unary load.
    Latency,
}

impl Arguments {
    fn wants(&self, scenario: Scenario) -> bool {
        self.scenario.is_empty() || self.scenario.contains(&scenario)
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Files lie where the build lies: what is on a memory file system costs no sync.
    let scratch = mesh::scratch()?;
    if tempfile::env::override_temp_dir(&scratch).is_err() {
        anyhow::bail!("another folder for temporary files is set already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let mut figures = Figures::default();
    if arguments.wants(Scenario::Mesh) {
        mesh::measure(&mut figures)?;
    }
    runtime.block_on(queue::measure(&arguments, &mut figures))?;
    if arguments.peers {
        runtime.block_on(peers::measure(&arguments, &mut figures))?;
    }
    figures.print(arguments.json)
}
