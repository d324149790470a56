//! What an agent's process is handed to prove who it is: one JSON line on its standard input.

use std::fmt::Debug;

use async_trait::async_trait;
use nova_types::AgentId;

/// Where credentials come from.
#[async_trait]
pub trait AgentCredentials: Debug + Send + Sync {
    /// Fresh credentials, good for one start of a process of `agent`; else why there are none, for people.
    async fn credentials(&self, agent: &AgentId) -> Result<serde_json::Value, String>;
}
