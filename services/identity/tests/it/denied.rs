//! Each RPC is denied when no rule allows it.

use nova_proto::identity::v1 as identity;
use nova_proto::memory::v1 as memory;
use tonic::Code;

use crate::daemon::{Place, assert_refused};

/// Asserts that a call of this method is denied.
macro_rules! assert_denied {
    ($client:ident . $call:ident ($message:expr), $method:literal) => {
        assert!(METHODS.contains(&$method));
        assert_refused($client.$call($message).await, Code::PermissionDenied, "PERMISSION_DENIED");
    };
}

const METHODS: [&str; 11] = [
    "nova.identity.v1.IdentityService/AttestWorkload",
    "nova.identity.v1.IdentityService/RenewX509",
    "nova.identity.v1.IdentityService/CreateJoinToken",
    "nova.identity.v1.IdentityService/MintToken",
    "nova.identity.v1.IdentityService/GetBundle",
    "nova.identity.v1.IdentityService/RegisterAgent",
    "nova.identity.v1.IdentityService/GetAgentIdentity",
    "nova.identity.v1.IdentityService/ListAgentIdentities",
    "nova.memory.v1.MemoryService/PutMemory",
    "nova.memory.v1.MemoryService/GetMemory",
    "nova.memory.v1.MemoryService/SearchMemories",
];

#[tokio::test]
async fn every_rpc_of_identity_is_denied_without_a_rule() {
    let daemon = Place::sqlite().start_in("data", &METHODS).await;
    let mut calls = daemon.identity("user/operator", &["operator"]);
    assert_denied!(
        calls.attest_workload(identity::AttestWorkloadRequest::default()),
        "nova.identity.v1.IdentityService/AttestWorkload"
    );
    assert_denied!(
        calls.renew_x509(identity::RenewX509Request::default()),
        "nova.identity.v1.IdentityService/RenewX509"
    );
    assert_denied!(
        calls.create_join_token(identity::CreateJoinTokenRequest::default()),
        "nova.identity.v1.IdentityService/CreateJoinToken"
    );
    assert_denied!(
        calls.mint_token(identity::MintTokenRequest::default()),
        "nova.identity.v1.IdentityService/MintToken"
    );
    assert_denied!(
        calls.get_bundle(identity::GetBundleRequest::default()),
        "nova.identity.v1.IdentityService/GetBundle"
    );
    assert_denied!(
        calls.register_agent(identity::RegisterAgentRequest::default()),
        "nova.identity.v1.IdentityService/RegisterAgent"
    );
    assert_denied!(
        calls.get_agent_identity(identity::GetAgentIdentityRequest::default()),
        "nova.identity.v1.IdentityService/GetAgentIdentity"
    );
    assert_denied!(
        calls.list_agent_identities(identity::ListAgentIdentitiesRequest::default()),
        "nova.identity.v1.IdentityService/ListAgentIdentities"
    );
}

#[tokio::test]
async fn every_rpc_of_memory_is_denied_without_a_rule() {
    let daemon = Place::sqlite().start_in("data", &METHODS).await;
    let mut calls = daemon.memory("user/operator");
    assert_denied!(
        calls.put_memory(memory::PutMemoryRequest::default()),
        "nova.memory.v1.MemoryService/PutMemory"
    );
    assert_denied!(
        calls.get_memory(memory::GetMemoryRequest::default()),
        "nova.memory.v1.MemoryService/GetMemory"
    );
    assert_denied!(
        calls.search_memories(memory::SearchMemoriesRequest::default()),
        "nova.memory.v1.MemoryService/SearchMemories"
    );
}
