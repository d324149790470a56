//! Agents and sessions are changed under a lease only while it stands.

use std::time::Duration;

use nova_proto::lifecycle::v1 as pb;
use nova_rpc::lease::{HEADER, Lease};
use nova_runtime::testing::TestAuthority;
use nova_types::{Clock as _, Namespace, SpiffeId, TaskId};
use tonic::{Code, Request, Status};

use crate::runs::start;
use crate::server::{Daemon, reason};

/// The lease `token` of a task, for the agent orion.
fn lease(token: u64, daemon: &Daemon) -> Lease {
    Lease {
        namespace: Namespace::default(),
        task: TaskId::parse("task", "0198c0de-0000-7000-8000-000000000000").unwrap(),
        attempt: 1,
        token,
        holder: SpiffeId::parse("holder", "spiffe://nova.local/agent/orion").unwrap(),
        not_after: daemon.clock.now() + Duration::from_secs(10),
    }
}

fn under<T>(lease: &Lease, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, TestAuthority::shared().proof(lease).parse().unwrap());
    request
}

fn beat() -> pb::HeartbeatAgentRequest {
    pb::HeartbeatAgentRequest { agent_id: "orion".to_owned(), active_tasks: 1, ..Default::default() }
}

fn becoming(state: pb::AgentState) -> pb::SetAgentStateRequest {
    pb::SetAgentStateRequest { agent_id: "orion".to_owned(), state: state.into(), ..Default::default() }
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "LEASE_LOST"));
}

async fn moves(daemon: &Daemon) -> usize {
    let request = pb::ListAgentTransitionsRequest { agent_id: "orion".to_owned(), ..Default::default() };
    daemon.agents().list_agent_transitions(request).await.unwrap().into_inner().transitions.len()
}

#[tokio::test]
async fn a_lost_lease_moves_no_agent() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let mut orion = daemon.agents_as("agent/orion");
    let (old, new) = (lease(7, &daemon), lease(9, &daemon));
    orion.set_agent_state(under(&old, becoming(pb::AgentState::Starting))).await.unwrap();
    orion.heartbeat_agent(under(&new, beat())).await.unwrap();
    let before = moves(&daemon).await;
    assert_lost(orion.heartbeat_agent(under(&old, beat())).await);
    assert_lost(orion.set_agent_state(under(&old, becoming(pb::AgentState::Idle))).await);
    daemon.clock.advance(Duration::from_secs(10));
    assert_lost(orion.heartbeat_agent(under(&new, beat())).await);
    assert_eq!(moves(&daemon).await, before);
}

#[tokio::test]
async fn an_agent_changes_its_session_under_a_lease_that_stands_and_never_without() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let start = pb::StartSessionRequest { agent_id: "orion".to_owned(), ..Default::default() };
    let session = daemon.sessions().start_session(start).await.unwrap().into_inner().session.unwrap();
    let mut orion = daemon.sessions_as("agent/orion");
    let note = |text: &str| pb::UpdateSessionRequest {
        session_id: session.id.clone(),
        session: Some(pb::Session { context_json: format!(r#"{{"{text}":1}}"#), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["context_json".to_owned()] }),
        ..Default::default()
    };
    let (old, new) = (lease(7, &daemon), lease(9, &daemon));
    orion.update_session(under(&old, note("old"))).await.unwrap();
    orion.update_session(under(&new, note("new"))).await.unwrap();
    assert_lost(orion.update_session(under(&old, note("stale"))).await);
    assert_eq!(reason(&orion.update_session(note("bare")).await.unwrap_err()), "LEASE_REQUIRED");
    let request = pb::GetSessionRequest { session_id: session.id.clone(), ..Default::default() };
    let kept = daemon.sessions().get_session(request).await.unwrap().into_inner().session.unwrap();
    assert_eq!(kept.context_json, r#"{"new":1,"old":1}"#);
}

#[tokio::test]
async fn a_lost_lease_starts_and_cancels_no_run() {
    let daemon = Daemon::start().await;
    let holder = SpiffeId::parse("holder", "spiffe://nova.local/user/operator").unwrap();
    let [old, new] = [7, 9].map(|token| Lease { holder: holder.clone(), ..lease(token, &daemon) });
    let mut workflows = daemon.workflows();
    let run = workflows.start_run(under(&new, start("a"))).await.unwrap().into_inner().run.unwrap();
    assert_lost(workflows.start_run(under(&old, start("b"))).await);
    let cancel = pb::CancelRunRequest { run_id: run.id.clone(), ..Default::default() };
    assert_lost(workflows.cancel_run(under(&old, cancel)).await);
    let runs = workflows.list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs.iter().map(|run| &run.id).collect::<Vec<_>>(), [&run.id]);
    assert_ne!(runs[0].state(), pb::RunState::Cancelled);
}

#[tokio::test]
async fn a_lost_lease_registers_no_agent_and_begins_no_session() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let (old, new) = (lease(7, &daemon), lease(9, &daemon));
    let mut orion = daemon.agents_as("agent/orion");
    orion.heartbeat_agent(under(&new, beat())).await.unwrap();
    let role = "auditor".to_owned();
    let register = pb::RegisterAgentRequest { agent_id: "orion".to_owned(), role, ..Default::default() };
    assert_lost(orion.register_agent(under(&old, register)).await);
    let start = pb::StartSessionRequest { agent_id: "orion".to_owned(), ..Default::default() };
    assert_lost(daemon.sessions_as("agent/orion").start_session(under(&old, start)).await);
}
