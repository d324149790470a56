//! AgentService.

use nova_proto::lifecycle::v1 as pb;
use nova_proto::lifecycle::v1::agent_service_server::AgentService;
use nova_rpc::{Caller, caller, lease};
use nova_types::{AgentId, Namespace, Violation, Violations, wire};
use tonic::{Request, Response};

use super::agent_messages as messages;
use super::{Answer, author};
use crate::agent::Agents;
use crate::error::Error;

/// AgentService over the register of agents.
#[derive(Debug)]
pub(super) struct AgentRpcs {
    agents: Agents,
}

impl AgentRpcs {
    pub(super) fn new(agents: Agents) -> Self {
        Self { agents }
    }
}

#[tonic::async_trait]
impl AgentService for AgentRpcs {
    async fn register_agent(
        &self,
        request: Request<pb::RegisterAgentRequest>,
    ) -> Answer<pb::RegisterAgentResponse> {
        let (author, lease) = (author(&caller(&request)), lease(&request));
        let request = request.into_inner();
        let namespace = namespace(&request.namespace)?;
        let description = messages::description(request).map_err(Error::from)?;
        let agent = self.agents.under(lease).register(&namespace, &description, &author).await?;
        Ok(Response::new(pb::RegisterAgentResponse { agent: Some(messages::agent_to_wire(agent)) }))
    }

    async fn get_agent(&self, request: Request<pb::GetAgentRequest>) -> Answer<pb::GetAgentResponse> {
        let request = request.into_inner();
        let (namespace, id) = name(&request.namespace, &request.agent_id)?;
        let agent = self.agents.get(&namespace, &id).await?;
        Ok(Response::new(pb::GetAgentResponse { agent: Some(messages::agent_to_wire(agent)) }))
    }

    async fn list_agents(&self, request: Request<pb::ListAgentsRequest>) -> Answer<pb::ListAgentsResponse> {
        let request = request.into_inner();
        let namespace = namespace(&request.namespace)?;
        let state = messages::state("state", request.state).map_err(Error::from)?;
        let page = Page::parse(request.page_size, &request.page_token)?;
        let found = self.agents.list(&namespace, state, page.size, page.after).await?;
        let agents = found.agents.into_iter().map(messages::agent_to_wire).collect();
        Ok(Response::new(pb::ListAgentsResponse { agents, next_page_token: next_token(found.next) }))
    }

    async fn set_agent_state(
        &self,
        request: Request<pb::SetAgentStateRequest>,
    ) -> Answer<pb::SetAgentStateResponse> {
        let (author, lease) = (author(&caller(&request)), lease(&request));
        let request = request.into_inner();
        let (namespace, id) = name(&request.namespace, &request.agent_id)?;
        let to = messages::state("state", request.state).map_err(Error::from)?;
        let to = to.ok_or_else(|| Error::from(Violation::new("state", "must be given")))?;
        let details = messages::details("details", request.details).map_err(Error::from)?;
        let agents = self.agents.under(lease);
        let agent = agents.set_state(&namespace, &id, to, &details, &request.etag, &author).await?;
        Ok(Response::new(pb::SetAgentStateResponse { agent: Some(messages::agent_to_wire(agent)) }))
    }

    async fn heartbeat_agent(
        &self,
        request: Request<pb::HeartbeatAgentRequest>,
    ) -> Answer<pb::HeartbeatAgentResponse> {
        let (caller, lease) = (caller(&request), lease(&request));
        let request = request.into_inner();
        let (namespace, id) = name(&request.namespace, &request.agent_id)?;
        only_for_itself(&caller, &id, "speak for another agent")?;
        let agents = self.agents.under(lease);
        let state = agents.heartbeat(&namespace, &id, request.active_tasks, &author(&caller)).await?;
        Ok(Response::new(pb::HeartbeatAgentResponse { state: messages::state_to_wire(state).into() }))
    }

    async fn list_agent_transitions(
        &self,
        request: Request<pb::ListAgentTransitionsRequest>,
    ) -> Answer<pb::ListAgentTransitionsResponse> {
        let request = request.into_inner();
        let (namespace, id) = name(&request.namespace, &request.agent_id)?;
        let page = Page::parse(request.page_size, &request.page_token)?;
        let (found, next) = self.agents.transitions(&namespace, &id, page.size, page.after).await?;
        let transitions = found.into_iter().map(messages::transition_to_wire).collect();
        Ok(Response::new(pb::ListAgentTransitionsResponse { transitions, next_page_token: next_token(next) }))
    }
}

/// An agent speaks for itself alone; others that policy lets in may speak for any.
pub(super) fn only_for_itself(caller: &Caller, id: &AgentId, what: &str) -> Result<(), Error> {
    if caller.agent_id().is_none_or(|agent| agent == *id) {
        return Ok(());
    }
    Err(Error::Forbidden { caller: caller.name().to_owned(), what: format!("{what} ({id})") })
}

pub(super) fn namespace(text: &str) -> Result<Namespace, Error> {
    Ok(Namespace::parse("namespace", text)?)
}

fn name(namespace: &str, id: &str) -> Result<(Namespace, AgentId), Error> {
    Ok(Violations::both(Namespace::parse("namespace", namespace), AgentId::parse("agent_id", id))?)
}

/// Which page is asked for.
pub(super) struct Page {
    pub(super) size: usize,
    pub(super) after: Option<String>,
}

impl Page {
    pub(super) fn parse(size: u32, token: &str) -> Result<Self, Error> {
        let mut violations = Violations::new();
        let size = violations.take(wire::page_size("page_size", size, 50, 1_000));
        violations.require(token.len() <= 700, "page_token", "must be a token from the page before");
        let after = violations.take(wire::parse_page_token_text("page_token", token));
        violations.finish()?;
        Ok(Self { size: size.unwrap_or(50), after: after.flatten() })
    }
}

pub(super) fn next_token(key: Option<String>) -> String {
    key.map(|key| wire::page_token(key.as_bytes())).unwrap_or_default()
}
