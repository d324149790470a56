//! The register of agents: who was ever given an identity.

use std::sync::Arc;

use nova_storage::{Commit, CommitError, Kv, Range};
use nova_types::{AgentId, Clock, Namespace, SpiffeId, Timestamp, TrustDomain};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::records;

/// Who an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentIdentity {
    pub(crate) namespace: Namespace,
    pub(crate) agent: AgentId,
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) created: Timestamp,
}

/// The register.
#[derive(Clone, Debug)]
pub(crate) struct AgentRegister {
    kv: Arc<dyn Kv>,
    trust_domain: TrustDomain,
    clock: Arc<dyn Clock>,
}

impl AgentRegister {
    pub(crate) fn new(kv: Arc<dyn Kv>, trust_domain: TrustDomain, clock: Arc<dyn Clock>) -> Self {
        Self { kv, trust_domain, clock }
    }

    /// The agent's identity, made now if it has none yet.
    pub(crate) async fn register(
        &self,
        namespace: Namespace,
        agent: AgentId,
    ) -> Result<AgentIdentity, Error> {
        let key = key(&namespace, agent.as_ref());
        let spiffe_id = SpiffeId::agent(&self.trust_domain, &agent);
        let identity = AgentIdentity { namespace, agent, spiffe_id, created: self.clock.now() };
        let commit = Commit::new().absent(&key).put(&key, records::encode(&identity));
        match self.kv.commit(commit).await {
            Ok(_) => Ok(identity),
            Err(CommitError::Conflict { .. }) => self.get(&identity.namespace, &identity.agent).await,
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    pub(crate) async fn get(&self, namespace: &Namespace, agent: &AgentId) -> Result<AgentIdentity, Error> {
        match self.kv.get(&key(namespace, agent.as_ref())).await? {
            Some(entry) => records::decode(&entry),
            None => Err(Error::AgentUnknown { namespace: namespace.clone(), agent: agent.clone() }),
        }
    }

    /// Up to `limit` identities of a namespace behind the agent `after`, by agent id.
    pub(crate) async fn list(
        &self,
        namespace: &Namespace,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<AgentIdentity>, Error> {
        let mut range = Range::prefix(key(namespace, "")).limit(limit);
        range.after = after.map(|agent| key(namespace, agent.as_ref()));
        self.kv.range(range).await?.iter().map(records::decode).collect()
    }
}

fn key(namespace: &Namespace, agent: &str) -> String {
    format!("identity/agent/{namespace}/{agent}")
}
