//! What an agent's process is handed to prove who it is: one JSON line on its standard input.

use std::fmt::Debug;

use async_trait::async_trait;
use nova_proto::identity::v1::CreateJoinTokenRequest;
use nova_runtime::Runtime;
use nova_types::AgentId;

/// Where credentials come from.
#[async_trait]
pub trait AgentCredentials: Debug + Send + Sync {
    /// A fresh line, with its end, good for one start of a process of `agent`; else why there is none, for people.
    async fn credentials(&self, agent: &AgentId) -> Result<String, String>;
}

/// Join tokens of the mesh's identity daemon.
#[derive(Debug)]
pub struct JoinTokens(Runtime);

impl JoinTokens {
    /// Tokens asked for with this daemon's own identity.
    pub fn new(runtime: Runtime) -> Self {
        Self(runtime)
    }
}

#[async_trait]
impl AgentCredentials for JoinTokens {
    async fn credentials(&self, agent: &AgentId) -> Result<String, String> {
        let subject = format!("agent/{agent}");
        let request = CreateJoinTokenRequest { subject: subject.clone(), ttl: None };
        let response = self.0.clients().identity().create_join_token(request).await;
        let token = response.map_err(|status| format!("identity: {}", status.message()))?.into_inner().token;
        Ok(self.0.handoff(subject, token).to_line())
    }
}
