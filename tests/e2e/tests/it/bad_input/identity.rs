//! What identity and memory refuse.

use nova_proto::identity::v1::*;
use nova_proto::memory::v1::*;
use prost::Message;
use tonic::Code;

use super::{Case, UNKNOWN, bad, fails, unknown};

macro_rules! identity {
    ($method:literal) => {
        concat!("nova.identity.v1.IdentityService/", $method)
    };
}

macro_rules! memory {
    ($method:literal) => {
        concat!("nova.memory.v1.MemoryService/", $method)
    };
}

pub(crate) fn good(rpc: &str) -> Option<Vec<u8>> {
    Some(match rpc {
        identity!("CreateJoinToken") => join("agent/orion").encode_to_vec(),
        identity!("MintToken") => mint("user/ada", &["viewer"]).encode_to_vec(),
        identity!("RegisterAgent") => register("orion").encode_to_vec(),
        identity!("GetAgentIdentity") => agent("stranger").encode_to_vec(),
        memory!("PutMemory") => put().encode_to_vec(),
        memory!("GetMemory") => get().encode_to_vec(),
        _ => return None,
    })
}

pub(crate) fn cases() -> Vec<Case> {
    [of_tokens(), of_agents(), of_memories()].concat()
}

fn of_tokens() -> Vec<Case> {
    let attest = |csr: &[u8]| AttestWorkloadRequest { csr: csr.to_vec() };
    let certificate = RenewX509Request { csr: vec![1, 2, 3] };
    let agent = join("agent/orion");
    let mut cases = vec![
        fails(identity!("CreateJoinToken"), "a token", &agent, Code::PermissionDenied, "PERMISSION_DENIED"),
        bad(identity!("AttestWorkload"), "nothing", &attest(&[]), "csr"),
        bad(identity!("AttestWorkload"), "noise", &attest(&[0x30; 300]), "csr"),
        bad(identity!("AttestWorkload"), "2 MiB", &attest(&vec![0x30; 2 << 20]), "csr"),
        fails(identity!("RenewX509"), "a token", &certificate, Code::Unauthenticated, "UNAUTHENTICATED"),
        bad(identity!("MintToken"), "no roles", &mint("user/ada", &[]), "roles"),
        bad(identity!("MintToken"), "9 roles", &mint("user/ada", &["viewer"; 9]), "roles"),
        bad(identity!("MintToken"), "a role of daemons", &mint("user/ada", &["daemon"]), "roles[0]"),
    ];
    for (what, subject) in [("nothing", ""), ("another kind", "god/zeus"), ("300 bytes", &"a".repeat(300))] {
        cases.push(bad(identity!("CreateJoinToken"), what, &join(subject), "subject"));
        cases.push(bad(identity!("MintToken"), what, &mint(subject, &["viewer"]), "subject"));
    }
    cases
}

fn of_agents() -> Vec<Case> {
    vec![
        bad(identity!("RegisterAgent"), "nothing", &register(""), "agent_id"),
        bad(identity!("GetAgentIdentity"), "nothing", &agent(""), "agent_id"),
        unknown(identity!("GetAgentIdentity"), &agent("stranger")),
    ]
}

fn of_memories() -> Vec<Case> {
    let one =
        |what: &str, request: PutMemoryRequest, field: &str| bad(memory!("PutMemory"), what, &request, field);
    let find = SearchMemoriesRequest { query: "q".repeat(2_000), ..Default::default() };
    vec![
        one("nothing", PutMemoryRequest::default(), "text"),
        one("no kind", PutMemoryRequest { kind: 0, ..put() }, "kind"),
        one("2 MiB", PutMemoryRequest { text: "t".repeat(2 << 20), ..put() }, "text"),
        one("no JSON", PutMemoryRequest { data_json: "{".to_owned(), ..put() }, "data_json"),
        one("deep nesting", PutMemoryRequest { data_json: "[".repeat(100_000), ..put() }, "data_json"),
        one("an importance of 2", PutMemoryRequest { importance: 2.0, ..put() }, "importance"),
        one("no importance", PutMemoryRequest { importance: f64::NAN, ..put() }, "importance"),
        bad(memory!("GetMemory"), "nothing", &GetMemoryRequest::default(), "memory_id"),
        unknown(memory!("GetMemory"), &get()),
        bad(memory!("SearchMemories"), "a long query", &find, "query"),
    ]
}

fn join(subject: &str) -> CreateJoinTokenRequest {
    CreateJoinTokenRequest { subject: subject.to_owned(), ttl: None }
}

fn mint(subject: &str, roles: &[&str]) -> MintTokenRequest {
    let roles = roles.iter().map(|&role| role.to_owned()).collect();
    MintTokenRequest { subject: subject.to_owned(), roles, ttl: None }
}

fn register(agent: &str) -> RegisterAgentRequest {
    RegisterAgentRequest { agent_id: agent.to_owned(), ..Default::default() }
}

fn agent(agent: &str) -> GetAgentIdentityRequest {
    GetAgentIdentityRequest { agent_id: agent.to_owned(), ..Default::default() }
}

fn put() -> PutMemoryRequest {
    PutMemoryRequest { kind: 3, text: "it rained".to_owned(), ..Default::default() }
}

fn get() -> GetMemoryRequest {
    GetMemoryRequest { memory_id: UNKNOWN.to_owned(), ..Default::default() }
}
