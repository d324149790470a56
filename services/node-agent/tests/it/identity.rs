//! An identity daemon that makes join tokens, and nothing else.

use nova_client::{Endpoint, Endpoints};
use nova_proto::identity::v1 as pb;
use nova_proto::identity::v1::identity_service_server::{IdentityService, IdentityServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// The token for a subject is `token for <subject>`.
struct Tokens;

type Answer<T> = Result<Response<T>, Status>;

/// Serves it; gives endpoints in which it is the identity daemon.
pub(crate) async fn serve() -> Endpoints {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = Endpoint(format!("http://{}", listener.local_addr().unwrap()));
    let server = tonic::transport::Server::builder().add_service(IdentityServiceServer::new(Tokens));
    let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(serving);
    Endpoints { identity, ..Endpoints::default() }
}

#[tonic::async_trait]
impl IdentityService for Tokens {
    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Answer<pb::CreateJoinTokenResponse> {
        let token = format!("token for {}", request.into_inner().subject);
        Ok(Response::new(pb::CreateJoinTokenResponse { token }))
    }

    async fn attest_workload(
        &self,
        _: Request<pb::AttestWorkloadRequest>,
    ) -> Answer<pb::AttestWorkloadResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn renew_x509(&self, _: Request<pb::RenewX509Request>) -> Answer<pb::RenewX509Response> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn mint_token(&self, _: Request<pb::MintTokenRequest>) -> Answer<pb::MintTokenResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_bundle(&self, _: Request<pb::GetBundleRequest>) -> Answer<pb::GetBundleResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn register_agent(
        &self,
        _: Request<pb::RegisterAgentRequest>,
    ) -> Answer<pb::RegisterAgentResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_agent_identity(
        &self,
        _: Request<pb::GetAgentIdentityRequest>,
    ) -> Answer<pb::GetAgentIdentityResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_agent_identities(
        &self,
        _: Request<pb::ListAgentIdentitiesRequest>,
    ) -> Answer<pb::ListAgentIdentitiesResponse> {
        Err(Status::unimplemented("not in this test"))
    }
}
