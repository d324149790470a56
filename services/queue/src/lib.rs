//! nova-queue: hands tasks to workers under fenced leases.
//!
//! # Design
//!
//! [`task`] is the state machine, pure. [`core`] is the whole queue in memory, pure too: verbs go in, changes
//! for one commit come out. [`engine`] runs one core as a task of its own and commits what has gathered before
//! anybody is answered. [`ledger`] is where commits go: a SQLite file, or a Redis that several daemons share, of
//! which one leads. [`store`] is everybody's handle on all that. [`service`] parses, calls and maps.
//!
//! # Invariants
//!
//! - What was acknowledged is durable at the level that the reply names.
//! - A task is in one state; the lease table alone says what is running.
//! - Tokens only grow. A stale one changes nothing, nor does one in the hands of somebody else.
//! - Attempts never exceed their maximum, expired ones included; the last one leads to the dead letters.
//! - No buffer, map or log grows without bound, and no verb does work that grows with the backlog.

pub mod task;

pub mod trail;

pub mod figures;

pub mod rate;

pub mod mark;

pub mod record;

pub mod intake;

pub mod cron;

pub mod schedule;

pub mod terms;

pub mod core;

pub mod codec;

mod engine;

mod ledger;

mod store;

mod service;

mod metrics;

mod gauges;

pub mod config;

mod error;

#[cfg(test)]
mod simulation;

use nova_proto::queue::v1::queue_service_server::QueueServiceServer;
use nova_runtime::{Daemon, Readiness, Routes, Runtime, StartError, StoreUrl};
use nova_types::Violations;
use tokio::sync::watch;

pub use self::{config::Config, error::Error};
use self::{
    ledger::{
        Standing,
        redis::{Claimant, Role},
    },
    service::{Forward, Leadership, QueueService, Shed},
    store::{Store, open_redis, open_sqlite},
};

/// The queue as a daemon.
#[derive(Debug)]
pub struct QueueDaemon;

/// Largest request: 4 MiB of payloads and what frames them.
const REQUEST_BYTES: usize = 8 << 20;

impl Daemon for QueueDaemon {
    const NAME: &'static str = "queue";

    type Config = Config;

    fn validate(config: &Config) -> Result<(), Violations> {
        config.validate()
    }

    async fn start(config: Config, runtime: Runtime) -> Result<Routes, StartError> {
        let ready = runtime.readiness("store");
        let store = open(&config, &runtime).await?;
        runtime.spawn_background("queue-readiness", follow(store.role(), store.standing(), ready));
        runtime.spawn_background("queue-gauges", gauges::follow(store.clone(), runtime.clock()));
        gauges::show_histograms(&runtime);
        let leader = Leadership::new(store.role(), runtime.clients().credentials().clone());
        let service = QueueServiceServer::new(QueueService::new(store.clone(), runtime, &config))
            .max_decoding_message_size(REQUEST_BYTES);
        Ok(Routes::new(Forward::new(Shed::new(service, store), leader)))
    }
}

/// Ready while somebody leads and the ledger answers; else what it said when it was asked.
async fn follow(mut role: watch::Receiver<Role>, mut standing: watch::Receiver<Standing>, store: Readiness) {
    loop {
        let (present, silent) =
            (role.borrow_and_update().clone(), standing.borrow_and_update().silent.clone());
        match (present, silent) {
            (Role::Unknown(why), _) | (Role::Leader(_), Some(why)) => store.not_ready(said(why)),
            (Role::Leader(_) | Role::Follower(_), _) => store.ready(),
        }
        tokio::select! {
            changed = role.changed() => if changed.is_err() { return },
            Ok(()) = standing.changed() => {}
        }
    }
}

/// What the ledger said, or what is wrong with it.
fn said(why: Error) -> String {
    match why {
        Error::Store(said) => said,
        other => other.to_string(),
    }
}

async fn open(config: &Config, runtime: &Runtime) -> Result<Store, StartError> {
    let (settings, clock) = (config.settings(), runtime.clock());
    let store = match runtime.store() {
        StoreUrl::Sqlite => open_sqlite(runtime.data_dir().join("queue.db"), settings, clock).await?,
        StoreUrl::Redis(url) => open_redis(url, Claimant::new(runtime.url())?, settings, clock).await?,
    };
    let stopped = store.stopped();
    runtime.spawn_background("queue-engine", async move {
        if let Err(error) = stopped.await {
            panic!("the engine of the queue cannot go on: {error}");
        }
    });
    Ok(store)
}
