//! Nobody gets what policy does not give: every RPC of every service is called by those who may not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use nova_client::Mesh;
use nova_e2e::callers::Callers;
use nova_e2e::contracts::{self, Rpc};
use nova_e2e::raw;
use nova_proto::policy::v1::{ExplainRequest, Verdict};
use nova_testkit::eventually;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// RPCs that every identity may call, so that none is denied. May only shrink.
const OPEN_TO_EVERY_IDENTITY: &[&str] = &["nova.identity.v1.IdentityService/GetBundle"];

const HEALTH: &str = "grpc.health.v1.Health/Check";
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const DAEMONS: [&str; 5] = ["queue", "lifecycle", "policy", "identity", "node"];

#[test]
fn whom_policy_gives_nothing_is_denied_every_rpc_and_an_operator_learns_why() {
    let callers = Callers::of_a_new_mesh();
    let nobody = callers.nobody();
    let mut decisions = BTreeMap::new();
    for rpc in contracts::rpcs().iter().filter(|rpc| !OPEN_TO_EVERY_IDENTITY.contains(&rpc.name.as_str())) {
        let status = callers.block_on(empty_call(&nobody, rpc.daemon, &rpc.name));
        assert_refused(&rpc.name, &status, Code::PermissionDenied, "PERMISSION_DENIED");
        decisions.insert(rpc.name.clone(), decision_of(&status));
    }
    let operator = callers.operator();
    for (method, decision) in &decisions {
        assert_explained(&callers, &operator, method, decision);
    }
}

#[test]
fn a_token_that_names_the_operator_gives_no_more_than_its_roles() {
    let callers = Callers::of_a_new_mesh();
    let (impostor, put) = (callers.impostor(), "nova.policy.v1.PolicyService/PutPolicy");
    let status = callers.block_on(empty_call(&impostor, "policy", put));
    assert_refused(put, &status, Code::PermissionDenied, "PERMISSION_DENIED");
    let mint = "nova.identity.v1.IdentityService/MintToken";
    let status = callers.block_on(empty_call(&impostor, "identity", mint));
    assert_refused(mint, &status, Code::PermissionDenied, "PERMISSION_DENIED");
}

#[test]
fn who_proves_nothing_may_call_no_rpc() {
    let callers = Callers::of_a_new_mesh();
    let unproven = [
        ("nothing", callers.anonymous()),
        ("an expired token", callers.expired()),
        ("a forged token", callers.forger()),
        ("no token at all", callers.bearer(Some("Zm9yZ2Vk".to_owned()))),
    ];
    for (shown, mesh) in &unproven {
        for rpc in contracts::rpcs() {
            let status = callers.block_on(empty_call(mesh, rpc.daemon, &rpc.name));
            let call = format!("{} with {shown}", rpc.name);
            assert_refused(&call, &status, Code::Unauthenticated, "UNAUTHENTICATED");
        }
    }
}

#[test]
fn health_is_open_to_all_and_reflection_needs_an_identity() {
    let callers = Callers::of_a_new_mesh();
    let (anonymous, nobody) = (callers.anonymous(), callers.nobody());
    for daemon in DAEMONS {
        let health = callers.block_on(call(&anonymous, daemon, HEALTH));
        assert!(health.is_ok(), "health of {daemon}: {health:?}");
        for reflection in REFLECTION {
            let refused = callers.block_on(empty_call(&anonymous, daemon, reflection));
            assert_refused(reflection, &refused, Code::Unauthenticated, "UNAUTHENTICATED");
            let answered = callers.block_on(list_services(&nobody, daemon, reflection));
            assert!(answered.is_ok(), "reflection of {daemon}: {answered:?}");
        }
    }
}

#[test]
fn an_rpc_that_does_not_exist_is_denied_like_one_that_does() {
    let callers = Callers::of_a_new_mesh();
    let status =
        callers.block_on(empty_call(&callers.operator(), "queue", "nova.queue.v1.QueueService/Purge"));
    assert_refused("Purge", &status, Code::PermissionDenied, "PERMISSION_DENIED");
}

/// Asks a reflection service for the names of all services.
async fn list_services(mesh: &Mesh, daemon: &str, reflection: &str) -> Result<Option<Bytes>, Status> {
    const LIST_SERVICES: &[u8] = &[0x3a, 1, b'*'];
    let channel = mesh.channel(daemon).expect("a daemon of the mesh");
    raw::call(channel, reflection, vec![Bytes::from_static(LIST_SERVICES)]).await
}

async fn call(mesh: &Mesh, daemon: &str, method: &str) -> Result<Option<Bytes>, Status> {
    raw::call(mesh.channel(daemon).expect("a daemon of the mesh"), method, vec![Bytes::new()]).await
}

/// The refusal of a call with an empty message; OK when it is not refused.
async fn empty_call(mesh: &Mesh, daemon: &str, method: &str) -> Status {
    call(mesh, daemon, method).await.err().unwrap_or_else(|| Status::ok("it was answered"))
}

#[track_caller]
fn assert_refused(call: &str, status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{call}: {status:?}");
    let info =
        status.get_details_error_info().unwrap_or_else(|| panic!("{call}: no ErrorInfo in {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "nova"), "{call}");
}

fn decision_of(status: &Status) -> String {
    let info = status.get_details_error_info().expect("a denial carries ErrorInfo");
    info.metadata.get("decision_id").cloned().unwrap_or_else(|| panic!("no decision_id in {info:?}"))
}

/// Decisions reach the policy daemon a moment after they were made.
#[track_caller]
fn assert_explained(callers: &Callers, operator: &Mesh, method: &str, decision: &str) {
    let ask = || ExplainRequest { decision_id: decision.to_owned() };
    let explained = eventually(&format!("{method} is explained"), Duration::from_secs(60), || {
        callers.block_on(operator.policy().explain(ask())).ok()
    });
    let explained = explained.into_inner();
    let recorded = explained.decision.expect("an explanation is of a decision");
    assert_eq!(recorded.verdict(), Verdict::Deny, "{method}");
    assert_eq!(recorded.question.expect("a decision answers a question").method, method);
    assert!(recorded.why.contains("nobody"), "{method}: {}", recorded.why);
    assert!(!explained.remedy.is_empty(), "{method} has no remedy");
}

/// Keeps the test whole when a service is added: its daemon must be one of these.
#[test]
fn every_rpc_is_served_by_a_daemon_of_the_mesh() {
    let rpcs: Vec<Rpc> = contracts::rpcs();
    assert!(rpcs.len() > 50, "only {} RPCs were found", rpcs.len());
    assert!(rpcs.iter().all(|rpc| DAEMONS.contains(&rpc.daemon)));
}
