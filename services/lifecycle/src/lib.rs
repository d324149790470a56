//! The lifecycle daemon: agents, sessions, and runs of plans.
//!
//! Everything is a record in the versioned key-value store, so one store implementation serves SQLite
//! and Redis. Agents and sessions are state machines with one table each. A run is its log of events:
//! the engine is a pure function of them, so the daemon may be killed at any point and goes on with
//! every open run when it is back. The queue owns attempts, the node agent owns processes; this daemon
//! decides what comes next and makes the processes that run the ones that are wanted.
//!
//! - [`agent`]: the register of agents, their moves, and who went silent.
//! - [`session`]: what an agent works on, with a context that survives it.
//! - [`plan`]: the format of plans and everything that is wrong with one; [`expression`]: `${…}`.
//! - [`run`]: the engine, the logs, the drivers, the report.
//! - `service`: the RPCs, and the clients of the other daemons.

#![warn(missing_docs)]

pub mod agent;
pub mod config;
mod error;
pub mod expression;
pub mod plan;
mod records;
pub mod run;
mod service;
pub mod session;
mod upkeep;

use std::sync::Arc;

use nova_runtime::{Daemon, Routes, Runtime, StartError};
use nova_types::Violations;

pub use config::LifecycleConfig;
pub use error::Error;
pub use records::Records;

use agent::Agents;
use run::{Executor, Runs, Scheduler, Wants};
use session::Sessions;

/// The lifecycle daemon.
#[derive(Debug)]
pub struct LifecycleDaemon;

impl Daemon for LifecycleDaemon {
    const NAME: &'static str = "lifecycle";
    type Config = LifecycleConfig;

    fn validate(config: &LifecycleConfig) -> Result<(), Violations> {
        config.validate()
    }

    async fn start(config: LifecycleConfig, runtime: Runtime) -> Result<Routes, StartError> {
        let records = Records::new(runtime.kv().await?);
        let executor = executor(&config, &runtime, records.clone());
        let sweep = upkeep::sweep(records, executor.clone(), config.keep(), runtime.shutdown());
        runtime.spawn("sweeper", sweep);
        let scheduler = Scheduler::new(executor.clone(), runtime.clone(), config.max_open_runs)
            .driving(config.drive_runs);
        scheduler.resume().await?;
        runtime.spawn(
            "agent-detector",
            agent::watch_over(
                executor.agents.clone(),
                config.detector_interval(),
                config.heartbeat_patience(),
                runtime.shutdown(),
            ),
        );
        if config.drive_runs {
            runtime.spawn(
                "process-reconciler",
                run::keep_reconciled(
                    executor.mesh.clone(),
                    executor.wants.clone(),
                    config.reconcile_interval(),
                    runtime.shutdown(),
                ),
            );
        }
        Ok(service::routes(&scheduler, config.max_watches, &runtime))
    }
}

fn executor(config: &LifecycleConfig, runtime: &Runtime, records: Records) -> Executor {
    let trust_domain = runtime.trust_domain().clone();
    Executor {
        runs: Runs::new(records.clone(), runtime.clock()),
        agents: Agents::new(records.clone(), runtime.clock(), trust_domain.clone()),
        sessions: Sessions::new(records, runtime.clock()),
        mesh: Arc::new(service::peers::Peers::new(runtime.clients().clone())),
        wants: Wants::default(),
        trust_domain,
        decision_wait: config.decision_wait(),
    }
}
