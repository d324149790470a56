//! nova-queue: hands tasks to workers under fenced leases.
//!
//! # Design
//!
//! [`task`] is the state machine, pure. [`core`] is the whole queue in memory, pure too: verbs go in, changes
//! for one commit come out. [`store`] makes it durable: [`store::sqlite`] runs one core on an engine thread
//! and commits what has gathered in one transaction before anybody is answered; [`store::redis`] runs the same
//! verbs as a function library inside Redis, for daemons that share their state. [`service`] parses, calls and
//! maps; it knows no store.
//!
//! # Invariants
//!
//! - What was acknowledged is durable at the level that the reply names.
//! - A task is in one state; the lease table alone says what is running.
//! - Tokens only grow. A stale one changes nothing.
//! - Attempts never exceed their maximum, expired ones included; the last one leads to the dead letters.
//! - No buffer, map or log grows without bound, and no verb does work that grows with the backlog.

pub mod task;

pub mod record;

pub mod core;

pub mod codec;

pub mod store;

mod service;

mod metrics;

pub mod config;

mod error;

use std::sync::Arc;

use nova_proto::queue::v1::queue_service_server::QueueServiceServer;
use nova_runtime::{Daemon, Routes, Runtime, StartError, StoreUrl};
use nova_types::Violations;

pub use self::{config::Config, error::Error};
use self::{
    service::QueueService,
    store::{Store, redis::RedisStore, sqlite::SqliteStore},
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
        ready.ready();
        let service = QueueServiceServer::new(QueueService::new(store, runtime))
            .max_decoding_message_size(REQUEST_BYTES);
        Ok(Routes::new(service))
    }
}

async fn open(config: &Config, runtime: &Runtime) -> Result<Arc<dyn Store>, StartError> {
    match runtime.store() {
        StoreUrl::Sqlite => {
            let settings = config.sqlite(runtime.data_dir());
            let store = SqliteStore::open(settings, runtime.clock()).await?;
            let stopped = store.stopped();
            runtime.spawn_background("queue-engine", async move {
                if let Err(error) = stopped.await {
                    panic!("the engine of the queue cannot go on: {error}");
                }
            });
            Ok(Arc::new(store))
        }
        StoreUrl::Redis(url) => {
            let store = RedisStore::open(url, config.redis()).await?;
            runtime.spawn_background("queue-redis", store.follow());
            Ok(Arc::new(store))
        }
    }
}
