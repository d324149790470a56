//! `IdentityService`.

use std::time::Duration;

use nova_proto::identity::v1 as pb;
use nova_proto::identity::v1::identity_service_server::IdentityService;
use nova_types::{AgentId, Namespace, Violation, Violations, wire};
use tonic::{Request, Response};

use super::Answer;
use crate::agents::{AgentIdentity, AgentRegister};
use crate::authority::X509Svid;
use crate::error::Error;
use crate::issuance::Issuance;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Serves the certificate authority and the register.
#[derive(Clone, Debug)]
pub(crate) struct IdentityApi {
    issuance: Issuance,
    agents: AgentRegister,
}

impl IdentityApi {
    pub(crate) fn new(issuance: Issuance, agents: AgentRegister) -> Self {
        Self { issuance, agents }
    }
}

#[tonic::async_trait]
impl IdentityService for IdentityApi {
    async fn attest_workload(
        &self,
        request: Request<pb::AttestWorkloadRequest>,
    ) -> Answer<pb::AttestWorkloadResponse> {
        let caller = nova_rpc::caller(&request);
        let svid = self.issuance.attest(&caller, &request.get_ref().csr).await?;
        Ok(Response::new(pb::AttestWorkloadResponse { svid: Some(of_svid(svid)) }))
    }

    async fn renew_x509(&self, request: Request<pb::RenewX509Request>) -> Answer<pb::RenewX509Response> {
        let caller = nova_rpc::caller(&request);
        let svid = self.issuance.renew(&caller, &request.get_ref().csr)?;
        Ok(Response::new(pb::RenewX509Response { svid: Some(of_svid(svid)) }))
    }

    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Answer<pb::CreateJoinTokenResponse> {
        let caller = nova_rpc::caller(&request);
        let message = request.into_inner();
        let ttl =
            wire::duration("ttl", message.ttl.as_ref(), SECOND..=10 * MINUTE, MINUTE).map_err(Error::from)?;
        let token = self.issuance.join_token(&caller, &message.subject, ttl)?.token;
        Ok(Response::new(pb::CreateJoinTokenResponse { token }))
    }

    async fn mint_token(&self, request: Request<pb::MintTokenRequest>) -> Answer<pb::MintTokenResponse> {
        let caller = nova_rpc::caller(&request);
        let message = request.into_inner();
        let ttl =
            wire::duration("ttl", message.ttl.as_ref(), SECOND..=DAY, 5 * MINUTE).map_err(Error::from)?;
        let minted = self.issuance.token(&caller, &message.subject, &message.roles, ttl)?;
        let expire_time = Some(minted.expires.to_wire());
        Ok(Response::new(pb::MintTokenResponse { token: minted.token, expire_time }))
    }

    async fn get_bundle(&self, _: Request<pb::GetBundleRequest>) -> Answer<pb::GetBundleResponse> {
        let authority = self.issuance.authority();
        Ok(Response::new(pb::GetBundleResponse {
            trust_domain: authority.trust_domain().to_string(),
            x509_authorities: vec![authority.root_der().to_vec()],
            jwks: authority.jwks(),
        }))
    }

    async fn register_agent(
        &self,
        request: Request<pb::RegisterAgentRequest>,
    ) -> Answer<pb::RegisterAgentResponse> {
        let message = request.into_inner();
        let (namespace, agent) = agent_name(&message.namespace, &message.agent_id)?;
        let identity = self.agents.register(namespace, agent).await?;
        Ok(Response::new(pb::RegisterAgentResponse { identity: Some(of_identity(identity)) }))
    }

    async fn get_agent_identity(
        &self,
        request: Request<pb::GetAgentIdentityRequest>,
    ) -> Answer<pb::GetAgentIdentityResponse> {
        let message = request.into_inner();
        let (namespace, agent) = agent_name(&message.namespace, &message.agent_id)?;
        let identity = self.agents.get(&namespace, &agent).await?;
        Ok(Response::new(pb::GetAgentIdentityResponse { identity: Some(of_identity(identity)) }))
    }

    async fn list_agent_identities(
        &self,
        request: Request<pb::ListAgentIdentitiesRequest>,
    ) -> Answer<pb::ListAgentIdentitiesResponse> {
        let page = Page::parse(request.get_ref())?;
        let found = self.agents.list(&page.namespace, page.after.as_ref(), page.size).await?;
        let last = found.last().filter(|_| found.len() == page.size);
        let next_page_token =
            last.map(|last| wire::page_token(last.agent.as_ref().as_bytes())).unwrap_or_default();
        let identities = found.into_iter().map(of_identity).collect();
        Ok(Response::new(pb::ListAgentIdentitiesResponse { identities, next_page_token }))
    }
}

fn agent_name(namespace: &str, agent: &str) -> Result<(Namespace, AgentId), Error> {
    let (namespace, agent) = (Namespace::parse("namespace", namespace), AgentId::parse("agent_id", agent));
    Violations::both(namespace, agent).map_err(Error::Invalid)
}

struct Page {
    namespace: Namespace,
    size: usize,
    after: Option<AgentId>,
}

impl Page {
    fn parse(message: &pb::ListAgentIdentitiesRequest) -> Result<Self, Error> {
        let mut violations = Violations::new();
        let namespace = violations.take(Namespace::parse("namespace", &message.namespace));
        let size = violations.take(wire::page_size("page_size", message.page_size, 50, 1_000));
        let after = violations.take(after(&message.page_token));
        let (Some(namespace), Some(size), Some(after)) = (namespace, size, after) else {
            return Err(violations.into());
        };
        Ok(Self { namespace, size, after })
    }
}

fn after(token: &str) -> Result<Option<AgentId>, Violation> {
    let Some(agent) = wire::parse_page_token_text("page_token", token)? else { return Ok(None) };
    AgentId::parse("page_token", &agent).map(Some)
}

fn of_svid(svid: X509Svid) -> pb::X509Svid {
    pb::X509Svid {
        spiffe_id: svid.spiffe_id.to_string(),
        certificates: svid.chain,
        bundle: svid.bundle,
        expire_time: Some(svid.expires.to_wire()),
    }
}

fn of_identity(identity: AgentIdentity) -> pb::AgentIdentity {
    pb::AgentIdentity {
        agent_id: identity.agent.to_string(),
        namespace: identity.namespace.to_string(),
        spiffe_id: identity.spiffe_id.to_string(),
        create_time: Some(identity.created.to_wire()),
    }
}
