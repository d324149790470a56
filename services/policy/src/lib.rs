//! The policy daemon: the control plane of decisions.
//!
//! A decision is made inside the daemon that serves the call (`nova_authz`), from a snapshot
//! that it watches here. So this daemon is asked rarely, and while it is away the mesh goes
//! on with the last revision.
//!
//! - `built_in`: when the built-in revision is put in force: at first, and when nobody could
//!   change the stored one.
//! - `revisions`: which revision is in force; a change is a whole new revision that must
//!   compile, pass its own tests and lock nobody out, and is stored and activated in one commit.
//! - `revision_store`: revisions in the key-value store; their modules are shared by hash.
//! - `decisions`, `decision_keys`, `retention`: the record of what was decided everywhere,
//!   kept once by id, bounded by count.
//! - `explain`, `rules`: puts a recorded question to its revision again and lists what held.
//! - `watchers`: who watches.
//! - `service`: the contract.
//!
//! The daemon decides on its own calls with the same decision point as all others; it
//! publishes to it and records from it without a call to itself.

mod built_in;
mod config;
mod decision_keys;
mod decisions;
mod default_policy;
mod error;
mod explain;
mod retention;
mod revision_store;
mod revisions;
mod rules;
mod service;
mod watchers;

use nova_proto::policy::v1::policy_service_server::PolicyServiceServer;
use nova_runtime::{Daemon, Runtime, StartError};
use nova_types::Violations;
use tonic::service::Routes;

pub use config::Config;
pub use error::Error;

use crate::decisions::Decisions;
use crate::revision_store::RevisionStore;
use crate::revisions::Revisions;
use crate::service::PolicyApi;
use crate::watchers::Watchers;

/// Largest request: a module of 1 MiB, or 1,000 decisions.
const LARGEST_REQUEST: usize = 16 << 20;

/// The policy daemon.
#[derive(Debug)]
pub struct PolicyDaemon;

impl Daemon for PolicyDaemon {
    const NAME: &'static str = "policy";
    const OWNS_POLICY: bool = true;
    type Config = Config;

    fn validate(config: &Config) -> Result<(), Violations> {
        config.validate()
    }

    async fn start(config: Config, runtime: Runtime) -> Result<Routes, StartError> {
        let kv = runtime.kv().await?;
        let point = runtime.policy().clone();
        let store = RevisionStore::new(kv.clone(), config.revisions_kept);
        built_in::install(&store, &runtime).await?;
        let revisions = Revisions::open(kv.clone(), store, &runtime).await?;
        let decisions = Decisions::open(kv, config.decisions_kept).await?;
        let stop = || runtime.shutdown();
        runtime.spawn("policy-follower", revisions.clone().follow(stop()));
        runtime.spawn("policy-record", point.clone().run_report(decisions.clone(), stop()));
        runtime.spawn("decision-retention", retention::run(decisions.clone(), stop()));
        let watchers = Watchers::new(config.most_watchers);
        let api = PolicyApi { revisions, decisions, watchers, point, shutdown: stop() };
        let service = PolicyServiceServer::new(api).max_decoding_message_size(LARGEST_REQUEST);
        Ok(Routes::new(service))
    }
}
