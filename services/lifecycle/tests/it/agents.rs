//! AgentService.

use std::time::Duration;

use nova_proto::lifecycle::v1 as pb;
use nova_testkit::soon;
use tonic::Code;

use crate::server::{Daemon, reason};

fn set(state: pb::AgentState, etag: &str) -> pb::SetAgentStateRequest {
    pb::SetAgentStateRequest {
        agent_id: "orion".to_owned(),
        state: state.into(),
        etag: etag.to_owned(),
        ..Default::default()
    }
}

fn heartbeat(active_tasks: u32) -> pb::HeartbeatAgentRequest {
    pb::HeartbeatAgentRequest { agent_id: "orion".to_owned(), active_tasks, ..Default::default() }
}

#[tokio::test]
async fn registering_again_changes_nothing_but_the_description() {
    let daemon = Daemon::start().await;
    let first = daemon.register("orion").await;
    assert_eq!(first.spiffe_id, "spiffe://nova.local/agent/orion");
    assert_eq!(daemon.register("orion").await, first);
}

#[tokio::test]
async fn an_illegal_move_names_the_legal_ones() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let status = daemon.agents().set_agent_state(set(pb::AgentState::Active, "")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
    assert!(status.message().contains("starting, retired, error"), "{}", status.message());
}

#[tokio::test]
async fn a_stale_etag_changes_nothing() {
    let daemon = Daemon::start().await;
    let agent = daemon.register("orion").await;
    daemon.agents().set_agent_state(set(pb::AgentState::Starting, &agent.etag)).await.unwrap();
    let status = daemon.agents().set_agent_state(set(pb::AgentState::Error, &agent.etag)).await.unwrap_err();
    assert_eq!(reason(&status), "ETAG_MISMATCH");
}

#[tokio::test]
async fn heartbeats_move_an_agent_between_idle_and_active() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let mut orion = daemon.agents_as("agent/orion");
    let idle = orion.heartbeat_agent(heartbeat(0)).await.unwrap().into_inner();
    assert_eq!(idle.state(), pb::AgentState::Idle);
    let active = orion.heartbeat_agent(heartbeat(2)).await.unwrap().into_inner();
    assert_eq!(active.state(), pb::AgentState::Active);
    daemon.agents().set_agent_state(set(pb::AgentState::Draining, "")).await.unwrap();
    let draining = orion.heartbeat_agent(heartbeat(0)).await.unwrap().into_inner();
    assert_eq!(draining.state(), pb::AgentState::Draining);
}

#[tokio::test]
async fn an_agent_speaks_only_for_itself() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let status = daemon.agents_as("agent/echo").heartbeat_agent(heartbeat(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_silent_agent_is_unreachable_until_it_is_heard_of_again() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let mut orion = daemon.agents_as("agent/orion");
    orion.heartbeat_agent(heartbeat(0)).await.unwrap();
    daemon.clock.advance(Duration::from_secs(60));
    let lost = soon("its silence is noticed", Duration::from_secs(60), || async {
        let request = pb::GetAgentRequest { agent_id: "orion".to_owned(), ..Default::default() };
        let agent = daemon.agents().get_agent(request).await.unwrap().into_inner().agent.unwrap();
        (agent.state() == pb::AgentState::Unreachable).then_some(agent)
    })
    .await;
    assert_eq!(lost.details.unwrap().error_code, "HEARTBEATS_MISSED");
    let back = orion.heartbeat_agent(heartbeat(0)).await.unwrap().into_inner();
    assert_eq!(back.state(), pb::AgentState::Idle);
}

#[tokio::test]
async fn history_says_who_moved_it_and_why_newest_first() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let details = pb::StateDetails { error_code: "E1".to_owned(), message: "broken".to_owned() };
    let request = pb::SetAgentStateRequest { details: Some(details), ..set(pb::AgentState::Error, "") };
    daemon.agents().set_agent_state(request).await.unwrap();
    let request =
        pb::ListAgentTransitionsRequest { agent_id: "orion".to_owned(), page_size: 1, ..Default::default() };
    let page = daemon.agents().list_agent_transitions(request.clone()).await.unwrap().into_inner();
    assert_eq!(page.transitions[0].to(), pb::AgentState::Error);
    assert_eq!(page.transitions[0].actor, "spiffe://nova.local/user/operator");
    assert_eq!(page.transitions[0].details.as_ref().unwrap().error_code, "E1");
    let next = pb::ListAgentTransitionsRequest { page_token: page.next_page_token, ..request };
    let page = daemon.agents().list_agent_transitions(next).await.unwrap().into_inner();
    assert_eq!(page.transitions[0].to(), pb::AgentState::Registered);
    assert_eq!(page.transitions[0].from(), pb::AgentState::Unspecified);
}

#[tokio::test]
async fn agents_are_listed_by_id_page_by_page_and_by_state() {
    let daemon = Daemon::start().await;
    for id in ["chronos", "echo", "orion"] {
        daemon.register(id).await;
    }
    daemon.agents().set_agent_state(set(pb::AgentState::Starting, "")).await.unwrap();
    let request = pb::ListAgentsRequest { page_size: 2, ..Default::default() };
    let page = daemon.agents().list_agents(request.clone()).await.unwrap().into_inner();
    let ids: Vec<&str> = page.agents.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(ids, ["chronos", "echo"]);
    let next = pb::ListAgentsRequest { page_token: page.next_page_token, ..request };
    assert_eq!(daemon.agents().list_agents(next).await.unwrap().into_inner().agents[0].id, "orion");
    let starting = pb::ListAgentsRequest { state: pb::AgentState::Starting.into(), ..Default::default() };
    assert_eq!(daemon.agents().list_agents(starting).await.unwrap().into_inner().agents.len(), 1);
}
