//! The identity daemon: the mesh's certificate authority, its register of agents, and their memories.
//!
//! - [`authority`] is pure and has its own file: the supervisor of a mesh makes it before any daemon runs, and this
//!   daemon certifies itself with it. Private keys of others never come here: a caller sends a certificate request.
//! - `issuance` holds the rules of who gets which certificate or token that do not depend on policy. A join token is
//!   good for one key; using it is noted in the store before the certificate leaves.
//! - `ownership` keeps two meshes out of one store.
//! - `agents` and `memory` keep their records in the versioned key-value store, so that they live on both engines.
//! - `store` is the full-text index of the memories: a projection in a local file that follows the store's log of
//!   changes. A search brings it up to date first, so that a writer finds what it wrote, also through another instance.
//! - `upkeep` runs in the background, and nothing that a caller sees depends on it.
//!
//! Nothing here calls another daemon: identity is what all others need to start.

#![warn(missing_docs)]

pub mod authority;
mod config;
mod credential;

mod agents;
mod issuance;
mod memory;
mod ownership;
mod records;
mod store;
mod upkeep;
mod used_tokens;

mod error;
mod service;

use std::sync::Arc;
use std::time::Duration;

use nova_runtime::{CredentialSource, Daemon, Routes, Runtime, RuntimeConfig, StartError};
use nova_types::Violations;

pub use config::Config;
pub use credential::self_credential;

use agents::AgentRegister;
use authority::Authority;
use credential::OwnAuthority;
use issuance::Issuance;
use memory::{Follower, Memories};
use store::SearchIndex;
use used_tokens::UsedTokens;

/// File of the full-text index in the data folder; it may be deleted while the daemon is down.
const INDEX_FILE: &str = "memory-index.db";

/// The daemon.
#[derive(Debug)]
pub struct IdentityDaemon;

impl Daemon for IdentityDaemon {
    const NAME: &'static str = "identity";
    type Config = Config;

    fn validate(config: &Config) -> Result<(), Violations> {
        config.validate()
    }

    async fn start(config: Config, runtime: Runtime) -> Result<Routes, StartError> {
        let clock = runtime.clock();
        let dir = config.authority_dir(runtime.data_dir());
        let authority = Arc::new(Authority::open_or_create(&dir, runtime.trust_domain(), clock.now())?);
        let kv = runtime.kv().await?;
        ownership::claim(&kv, &authority).await?;
        let index = SearchIndex::open(&runtime.data_dir().join(INDEX_FILE))?;

        let used = UsedTokens::new(kv.clone());
        let issuance = Issuance::new(authority, config.certificate_terms(), used.clone(), clock.clone());
        let agents = AgentRegister::new(kv.clone(), runtime.trust_domain().clone(), clock.clone());
        let follower = Arc::new(Follower::new(kv.clone(), index));
        let window = Duration::from_secs(config.request_window_seconds);
        let memories = Memories::new(kv, clock.clone(), follower.clone(), window);

        runtime.spawn("memory-index", upkeep::follow(follower, runtime.shutdown()));
        runtime.spawn("sweeper", upkeep::sweep(used, memories.clone(), clock, runtime.shutdown()));
        Ok(service::routes(issuance, agents, memories))
    }

    fn credentials(
        config: &Config,
        runtime: &RuntimeConfig,
    ) -> Result<Option<Arc<dyn CredentialSource>>, StartError> {
        let dir = config.authority_dir(&runtime.data_dir);
        let own = OwnAuthority::open(&dir, &runtime.trust_domain, config.certificate_terms())?;
        Ok(Some(Arc::new(own)))
    }
}
