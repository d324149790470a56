//! The node agent: one per host. It tells what the host has and how it does, and runs the agents' processes.
//!
//! The two halves know nothing of each other. [`telemetry`] asks the host, never longer than a deadline, and keeps the last
//! sample for /metrics. [`process`] supervises: one task per process owns it, and what is written down outlives a daemon
//! that is killed, so that the next one ends what is left before it serves. Which processes should run is not known here:
//! lifecycle asks for them again, and asking twice starts nothing twice.

#![warn(missing_docs)]

pub mod config;
pub mod credentials;
pub mod error;
pub mod process;
mod service;
pub mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use nova_runtime::{Daemon, Runtime, StartError};
use nova_types::Violations;
use tokio::time::{MissedTickBehavior, interval};
use tonic::service::Routes;

use crate::credentials::JoinTokens;
use crate::process::{Environment, INHERITED, Sources, Supervisor};
use crate::telemetry::Sampler;

pub use config::Config;

/// The daemon of one host.
#[derive(Clone, Copy, Debug)]
pub struct NodeAgentDaemon;

impl Daemon for NodeAgentDaemon {
    const NAME: &'static str = "node";
    type Config = Config;

    fn validate(config: &Config) -> Result<(), Violations> {
        config.validate()
    }

    async fn start(config: Config, runtime: Runtime) -> Result<Routes, StartError> {
        let supervisor = open_supervisor(&config, &runtime).await?;
        let sampler = Arc::new(Sampler::new(config.telemetry, runtime.clock()));
        telemetry::register(&sampler, &supervisor);
        let pace = Duration::from_millis(config.telemetry.interval_ms);
        runtime.spawn_background("telemetry", refresh(Arc::clone(&sampler), pace));
        runtime.spawn_background("process-usage", account(supervisor.clone(), pace));
        let (grace, drain) = (Duration::from_millis(config.drain_grace_ms), runtime.shutdown());
        let drained = supervisor.clone();
        runtime.spawn("processes", async move {
            drain.cancelled().await;
            drained.drain(grace).await;
        });
        Ok(service::routes(config, supervisor, sampler, runtime.shutdown()))
    }
}

async fn open_supervisor(config: &Config, runtime: &Runtime) -> Result<Supervisor, StartError> {
    let sources = Sources {
        data: runtime.data_dir().to_owned(),
        clock: runtime.clock(),
        credentials: Arc::new(JoinTokens::new(runtime.clone())),
        environment: inherited_environment(),
    };
    let config = config.clone();
    Ok(tokio::task::spawn_blocking(move || Supervisor::open(config, sources)).await??)
}

/// What processes inherit; it configures nothing of the daemon's own.
fn inherited_environment() -> Environment {
    INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?))).collect()
}

async fn refresh(sampler: Arc<Sampler>, pace: Duration) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sampler.refresh().await;
    }
}

async fn account(supervisor: Supervisor, pace: Duration) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        supervisor.sample_usage().await;
    }
}
