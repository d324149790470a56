//! SessionService.

use nova_proto::lifecycle::v1 as pb;
use nova_proto::lifecycle::v1::session_service_server::SessionService;
use nova_rpc::{caller, lease};
use nova_types::{Namespace, RequestId, SessionId, Violations};
use tonic::{Request, Response};

use super::Answer;
use super::agents::{Page, namespace, next_token, only_for_itself};
use super::session_messages as messages;
use crate::agent::Agents;
use crate::error::Error;
use crate::session::Sessions;

/// SessionService over the register of sessions.
#[derive(Debug)]
pub(super) struct SessionRpcs {
    sessions: Sessions,
    agents: Agents,
}

impl SessionRpcs {
    pub(super) fn new(sessions: Sessions, agents: Agents) -> Self {
        Self { sessions, agents }
    }
}

#[tonic::async_trait]
impl SessionService for SessionRpcs {
    async fn start_session(
        &self,
        request: Request<pb::StartSessionRequest>,
    ) -> Answer<pb::StartSessionResponse> {
        let lease = lease(&request);
        let request = request.into_inner();
        let namespace = namespace(&request.namespace)?;
        let new = messages::new_session(&request).map_err(Error::from)?;
        let request_id = RequestId::parse("request_id", &request.request_id).map_err(Error::from)?;
        self.agents.get(&namespace, &new.agent_id).await?;
        let session = self.sessions.under(lease).start(&namespace, new, request_id.as_ref()).await?;
        Ok(Response::new(pb::StartSessionResponse { session: Some(messages::session_to_wire(session)) }))
    }

    async fn update_session(
        &self,
        request: Request<pb::UpdateSessionRequest>,
    ) -> Answer<pb::UpdateSessionResponse> {
        let (caller, lease) = (caller(&request), lease::of_agents(&request)?);
        let request = request.into_inner();
        let (namespace, id) = name(&request.namespace, &request.session_id)?;
        let change = messages::change(&request).map_err(Error::from)?;
        let own = |session: &crate::session::SessionRecord| {
            only_for_itself(&caller, &session.agent_id, "change the session of another agent")
        };
        let session = self.sessions.under(lease).update(&namespace, &id, &change, &request.etag, own).await?;
        Ok(Response::new(pb::UpdateSessionResponse { session: Some(messages::session_to_wire(session)) }))
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Answer<pb::GetSessionResponse> {
        let request = request.into_inner();
        let (namespace, id) = name(&request.namespace, &request.session_id)?;
        let session = self.sessions.get(&namespace, &id).await?;
        Ok(Response::new(pb::GetSessionResponse { session: Some(messages::session_to_wire(session)) }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Answer<pb::ListSessionsResponse> {
        let request = request.into_inner();
        let namespace = namespace(&request.namespace)?;
        let filter = messages::filter(&request).map_err(Error::from)?;
        let page = Page::parse(request.page_size, &request.page_token)?;
        let (found, next) = self.sessions.list(&namespace, &filter, page.size, page.after).await?;
        let sessions = found.into_iter().map(messages::session_to_wire).collect();
        Ok(Response::new(pb::ListSessionsResponse { sessions, next_page_token: next_token(next) }))
    }
}

fn name(namespace: &str, id: &str) -> Result<(Namespace, SessionId), Error> {
    Ok(Violations::both(Namespace::parse("namespace", namespace), SessionId::parse("session_id", id))?)
}
