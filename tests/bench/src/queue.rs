//! Nova's queue over both of its stores, with and without traces.

use clap::ValueEnum;
use nova_testkit::Nova;
use nova_testkit::redis::RedisServer;

use crate::figures::{Figures, LIVES, Measured, percentile};
use crate::load::{Load, Pace, run};
use crate::{Arguments, Scenario, mesh};

/// How Redis syncs, for Nova and for its peers.
pub(crate) const REDIS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// Where the queue keeps its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// Embedded, synced before every reply.
    Sqlite,
    /// A Redis of the bench's own.
    Redis,
}

/// Nova's systems without traces: those that are compared with peers.
pub(crate) const SYSTEMS: [&str; 2] = ["nova-sqlite", "nova-redis"];

impl StoreKind {
    fn system(self, traced: bool) -> String {
        let name = SYSTEMS[self as usize];
        if traced { format!("{name}-traced") } else { name.to_owned() }
    }

    fn settings(self) -> &'static str {
        match self {
            Self::Sqlite => "fsync before every reply",
            Self::Redis => "AOF everysec",
        }
    }
}

/// Runs every load that was asked for.
pub(crate) async fn measure(arguments: &Arguments, figures: &mut Figures) -> anyhow::Result<()> {
    if arguments.scenario == [Scenario::Mesh] {
        return Ok(());
    }
    for store in [StoreKind::Sqlite, StoreKind::Redis] {
        if arguments.store.is_some_and(|only| only != store) {
            continue;
        }
        for traced in [false, true] {
            if !(traced && arguments.untraced) {
                over(store, traced, arguments, figures).await?;
            }
        }
    }
    Ok(())
}

async fn over(
    store: StoreKind,
    traced: bool,
    arguments: &Arguments,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let redis = (store == StoreKind::Redis).then(|| RedisServer::start_with(&REDIS));
    let url = redis.as_ref().map_or_else(|| "sqlite".to_owned(), RedisServer::url);
    let nova = mesh::up(&url, traced)?;
    let bench = Bench { nova: &nova, store, traced, arguments };
    if arguments.wants(Scenario::Unary) {
        for callers in [128, 256] {
            bench.rate(&format!("unary-{callers}"), Load::unary(callers), figures).await?;
        }
    }
    if arguments.wants(Scenario::Batched) {
        bench.rate("batched-64", Load::batched(8, 64), figures).await?;
    }
    if arguments.wants(Scenario::Latency) && !traced {
        bench.latency(figures).await?;
    }
    Ok(())
}

/// One mesh under measurement.
struct Bench<'a> {
    nova: &'a Nova,
    store: StoreKind,
    traced: bool,
    arguments: &'a Arguments,
}

impl Bench<'_> {
    /// As fast as it goes.
    async fn rate(&self, scenario: &str, load: Load, figures: &mut Figures) -> anyhow::Result<()> {
        let mut outcome = run(self.nova, &load, self.arguments.seconds()).await?;
        let traces = if self.traced { "every call traced" } else { "no traces" };
        let settings = format!("{load}; mTLS, policy; {}; {traces}", self.store.settings());
        let system = self.store.system(self.traced);
        let of = Measured { scenario, system: &system, settings: &settings };
        figures.add(&of, LIVES, outcome.lives_per_second(), "1/s");
        figures.add(&of, "enqueue_p50", percentile(&mut outcome.enqueues, 0.5), "ms");
        figures.add(&of, "enqueue_p99", percentile(&mut outcome.enqueues, 0.99), "ms");
        Ok(())
    }

    /// At half of what 128 callers reach.
    async fn latency(&self, figures: &mut Figures) -> anyhow::Result<()> {
        let system = self.store.system(false);
        let full = match figures.lives("unary-128", &system) {
            Some(rate) => rate,
            None => run(self.nova, &Load::unary(128), self.arguments.seconds()).await?.lives_per_second(),
        };
        let load = Load { pace: Pace::PerSecond(full / 2.0), ..Load::unary(128) };
        let mut outcome = run(self.nova, &load, self.arguments.seconds()).await?;
        let settings = format!("{load}; mTLS, policy; {}; no traces", self.store.settings());
        let of = Measured { scenario: "half-load", system: &system, settings: &settings };
        for (what, micros) in [("enqueue", &mut outcome.enqueues), ("enqueue_to_start", &mut outcome.starts)]
        {
            figures.add(&of, &format!("{what}_p50"), percentile(micros, 0.5), "ms");
            figures.add(&of, &format!("{what}_p99"), percentile(micros, 0.99), "ms");
        }
        Ok(())
    }
}
