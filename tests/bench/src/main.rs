//! Measures Nova, and its peers beside it: how fast a mesh comes up, how many whole task lives (enqueue, lease,
//! complete) its queue does a second, how long each part takes, and what it costs in processor time and memory.
//!
//! `cargo run --release -p nova-bench -- [--json] [--scenario NAME…] [--plaintext] [--peers] [--seconds N]`
//!
//! A [`job`] is what a queue is asked to do, a [`system`] a queue that does it: [`nova`] or one of the [`peers`].
//! The [`scenarios`] give every system the same jobs, as long and as big as the [`plan`] says. What came out is kept
//! as [`figures`], beside their [`goals`]; the [`profile`] says where Nova's time goes.

mod figures;
mod goals;
mod job;
mod mesh;
mod nova;
mod operations;
mod peers;
mod plan;
mod process;
mod profile;
mod scenarios;
mod system;
mod table;

use anyhow::Context as _;
use clap::Parser;

use figures::Figures;
use nova::{NovaSystem, StoreKind, Variant};
use plan::Plan;
use scenarios::{Bench, Scenario};

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
    store: Option<StoreKind>,
    /// Measure other queues, too: each that is installed.
    #[arg(long)]
    peers: bool,
    /// Install the other queues into target/peers, as far as this machine has their languages. Without --peers
    /// nothing is measured.
    #[arg(long)]
    install_peers: bool,
    /// Leave out the runs in which every call is traced.
    #[arg(long)]
    untraced: bool,
    /// Measure rates and latency without TLS, too, beside those with it.
    #[arg(long, conflicts_with = "profile")]
    plaintext: bool,
    /// How long each load lasts, before what is left of it is worked off.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A backlog of ten million tasks, too, on Nova: takes long, and much memory.
    #[arg(long, conflicts_with = "short")]
    big: bool,
    /// Every part as small as it goes: shows that all of it works, and says nothing about speed.
    #[arg(long)]
    short: bool,
    /// Be a worker, as standard input tells: what the bench starts.
    #[arg(long, hide = true, exclusive = true)]
    worker: bool,
    /// Instead of measuring, sample the queue daemon with `perf` under the unary load, and say where its time goes.
    #[arg(long)]
    profile: bool,
}

impl Arguments {
    fn wants(&self, scenario: Scenario) -> bool {
        self.scenario.is_empty() || self.scenario.contains(&scenario)
    }

    fn plan(&self) -> Plan {
        if self.short { Plan::short() } else { Plan::full(self.seconds, self.big) }
    }

    /// The stores to run over.
    fn stores(&self) -> impl Iterator<Item = StoreKind> {
        let stores = [StoreKind::Sqlite, StoreKind::Redis].into_iter();
        stores.filter(|store| self.store.is_none_or(|only| only == *store))
    }

    /// The same, and how each is measured.
    fn runs(&self) -> impl Iterator<Item = (StoreKind, Variant)> {
        let plaintext = self.plaintext.then_some(Variant::Plaintext);
        let traced = (!self.untraced).then_some(Variant::Traced);
        self.stores().flat_map(move |store| {
            [Variant::Tls].into_iter().chain(plaintext).chain(traced).map(move |variant| (store, variant))
        })
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    if arguments.worker {
        return runtime.block_on(nova::work_as_told());
    }
    // Files lie where the build lies: what is on a memory file system costs no sync.
    let scratch = mesh::scratch()?;
    if tempfile::env::override_temp_dir(&scratch).is_err() {
        anyhow::bail!("another folder for temporary files is set already");
    }
    let mut figures = Figures::default();
    if arguments.install_peers {
        peers::install(&mut figures);
        if !arguments.peers {
            return Ok(());
        }
    }
    let measured = runtime.block_on(measure(&arguments, &mut figures));
    // What was measured before something failed is told all the same.
    figures.print(arguments.json)?;
    measured
}

async fn measure(arguments: &Arguments, figures: &mut Figures) -> anyhow::Result<()> {
    let plan = arguments.plan();
    if arguments.profile {
        return profile::measure(arguments.stores(), &plan, figures).await;
    }
    if arguments.wants(Scenario::Mesh) {
        mesh::measure(plan.starts, figures)?;
    }
    if arguments.scenario.is_empty() || arguments.scenario.iter().any(|scenario| scenario.is_for_all()) {
        for (store, variant) in arguments.runs() {
            let mut system = NovaSystem::open(store, variant, &plan.settings())?;
            let wants = |scenario| arguments.wants(scenario) && variant.measures(scenario, arguments.short);
            let mut bench = Bench { system: &mut system, plan: &plan, figures: &mut *figures };
            scenarios::measure(&mut bench, wants).await?;
        }
    }
    for store in arguments.stores() {
        if arguments.wants(Scenario::Overload) {
            operations::overload(store, &plan, figures).await?;
        }
        if arguments.wants(Scenario::Purge) {
            operations::purge(store, &plan, figures).await?;
        }
    }
    if arguments.peers {
        peers::measure(&plan, &|scenario| arguments.wants(scenario), figures).await?;
    }
    Ok(())
}
