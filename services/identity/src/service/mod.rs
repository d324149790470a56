//! The contracts: parse, call, map.

mod identity;
mod memory;
mod memory_wire;

use nova_proto::identity::v1::identity_service_server::IdentityServiceServer;
use nova_proto::memory::v1::memory_service_server::MemoryServiceServer;
use nova_runtime::Routes;
use tonic::{Response, Status};

use crate::agents::AgentRegister;
use crate::issuance::Issuance;
use crate::memory::Memories;

use identity::IdentityApi;
use memory::MemoryApi;

type Answer<T> = Result<Response<T>, Status>;

/// All that the daemon serves.
pub(crate) fn routes(issuance: Issuance, agents: AgentRegister, memories: Memories) -> Routes {
    Routes::new(IdentityServiceServer::new(IdentityApi::new(issuance, agents)))
        .add_service(MemoryServiceServer::new(MemoryApi::new(memories)))
}
