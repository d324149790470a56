//! Bad input to every RPC: the right code, the right field, and nothing done.

use nova_proto::lifecycle::v1 as pb;
use tonic::{Code, Status};

use crate::runs::PLAN;
use crate::server::{Daemon, fields};

const UNKNOWN: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

fn text(text: &str) -> String {
    text.to_owned()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let status = answer.expect_err(field);
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
    assert!(fields(&status).iter().any(|found| found == field), "{field}: {:?}", fields(&status));
}

fn unknown<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn registering_names_every_bad_field() {
    let daemon = Daemon::start().await;
    let good = pb::RegisterAgentRequest { agent_id: text("a"), role: text("r"), ..Default::default() };
    let many = vec![text("q"); 65];
    let labels = [(text(""), text("x"))].into_iter().collect();
    for (request, field) in [
        (pb::RegisterAgentRequest { agent_id: text(""), ..good.clone() }, "agent_id"),
        (pb::RegisterAgentRequest { agent_id: text("Orion"), ..good.clone() }, "agent_id"),
        (pb::RegisterAgentRequest { role: text(""), ..good.clone() }, "role"),
        (pb::RegisterAgentRequest { version: "x".repeat(65), ..good.clone() }, "version"),
        (pb::RegisterAgentRequest { framework: "x".repeat(65), ..good.clone() }, "framework"),
        (pb::RegisterAgentRequest { capabilities: many, ..good.clone() }, "capabilities"),
        (pb::RegisterAgentRequest { capabilities: vec![text("a b")], ..good.clone() }, "capabilities[0]"),
        (pb::RegisterAgentRequest { metadata: labels, ..good.clone() }, "metadata"),
        (pb::RegisterAgentRequest { namespace: text("No Good"), ..good }, "namespace"),
    ] {
        refused(daemon.agents().register_agent(request).await, field);
    }
    let all = daemon.agents().list_agents(pb::ListAgentsRequest::default()).await.unwrap().into_inner();
    assert!(all.agents.is_empty());
}

#[tokio::test]
async fn agents_are_refused_what_they_are_not() {
    let daemon = Daemon::start().await;
    let mut agents = daemon.agents();
    daemon.register("orion").await;
    let state = pb::SetAgentStateRequest { agent_id: text("orion"), ..Default::default() };
    let long = pb::StateDetails { error_code: text(""), message: "x".repeat(4_097) };
    let details = pb::SetAgentStateRequest { state: 2, details: Some(long), ..state.clone() };
    refused(agents.set_agent_state(details).await, "details.message");
    refused(agents.set_agent_state(state.clone()).await, "state");
    refused(agents.set_agent_state(pb::SetAgentStateRequest { state: 99, ..state }).await, "state");
    refused(agents.get_agent(pb::GetAgentRequest::default()).await, "agent_id");
    refused(agents.heartbeat_agent(pb::HeartbeatAgentRequest::default()).await, "agent_id");
    let page = pb::ListAgentsRequest { page_size: 1_001, page_token: text("%%"), ..Default::default() };
    refused(agents.list_agents(page.clone()).await, "page_size");
    refused(agents.list_agents(page).await, "page_token");
    let nobody = pb::GetAgentRequest { agent_id: text("nobody"), ..Default::default() };
    unknown(agents.get_agent(nobody).await);
    let nobody = pb::ListAgentTransitionsRequest { agent_id: text("nobody"), ..Default::default() };
    unknown(agents.list_agent_transitions(nobody).await);
    let nobody = pb::HeartbeatAgentRequest { agent_id: text("nobody"), ..Default::default() };
    unknown(agents.heartbeat_agent(nobody).await);
}

#[tokio::test]
async fn sessions_are_refused_with_their_field() {
    let daemon = Daemon::start().await;
    let mut sessions = daemon.sessions();
    daemon.register("orion").await;
    let good = pb::StartSessionRequest { agent_id: text("orion"), ..Default::default() };
    for (request, field) in [
        (pb::StartSessionRequest { agent_id: text("?"), ..good.clone() }, "agent_id"),
        (pb::StartSessionRequest { run_id: text("run"), ..good.clone() }, "run_id"),
        (pb::StartSessionRequest { context_json: text("[]"), ..good.clone() }, "context_json"),
        (pb::StartSessionRequest { context_json: text("{"), ..good.clone() }, "context_json"),
        (pb::StartSessionRequest { context_json: " ".repeat(300_000), ..good.clone() }, "context_json"),
        (pb::StartSessionRequest { request_id: "x".repeat(129), ..good }, "request_id"),
    ] {
        refused(sessions.start_session(request).await, field);
    }
    let good = pb::UpdateSessionRequest { session_id: text(UNKNOWN), ..Default::default() };
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![text(path)] });
    refused(sessions.update_session(good.clone()).await, "update_mask");
    refused(
        sessions.update_session(pb::UpdateSessionRequest { update_mask: mask("id"), ..good.clone() }).await,
        "update_mask",
    );
    let state = pb::UpdateSessionRequest { update_mask: mask("state"), ..good.clone() };
    refused(sessions.update_session(state).await, "session.state");
    unknown(sessions.update_session(pb::UpdateSessionRequest { update_mask: mask("details"), ..good }).await);
    refused(sessions.get_session(pb::GetSessionRequest::default()).await, "session_id");
    unknown(
        sessions.get_session(pb::GetSessionRequest { session_id: text(UNKNOWN), ..Default::default() }).await,
    );
}

#[tokio::test]
async fn runs_are_refused_with_their_field() {
    let daemon = Daemon::start().await;
    let mut workflows = daemon.workflows();
    let good = pb::StartRunRequest { plan: text(PLAN), ..Default::default() };
    for (request, field) in [
        (pb::StartRunRequest { plan: text(""), ..good.clone() }, "plan"),
        (pb::StartRunRequest { plan: "#".repeat((1 << 20) + 1), ..good.clone() }, "plan"),
        (pb::StartRunRequest { input_json: text("7"), ..good.clone() }, "input_json"),
        (pb::StartRunRequest { input_json: text(r#"{"repo":7}"#), ..good.clone() }, "input_json.repo"),
        (pb::StartRunRequest { skip_phases: vec![text("none")], ..good.clone() }, "skip_phases[0]"),
        (pb::StartRunRequest { request_id: text("\u{7}"), ..good.clone() }, "request_id"),
        (pb::StartRunRequest { file_name: "x".repeat(5_000), ..good }, "file_name"),
    ] {
        refused(workflows.start_run(request).await, field);
    }
    refused(workflows.get_run(pb::GetRunRequest { run_id: text("7"), ..Default::default() }).await, "run_id");
    let no_step = pb::GetRunRequest { run_id: text(UNKNOWN), step: text("a b"), ..Default::default() };
    refused(workflows.get_run(no_step).await, "step");
    refused(
        workflows.cancel_run(pb::CancelRunRequest { run_id: text("7"), ..Default::default() }).await,
        "run_id",
    );
    unknown(workflows.cancel_run(pb::CancelRunRequest { run_id: text(UNKNOWN), ..Default::default() }).await);
    unknown(workflows.get_run(pb::GetRunRequest { run_id: text(UNKNOWN), ..Default::default() }).await);
    unknown(workflows.watch_run(pb::WatchRunRequest { run_id: text(UNKNOWN), ..Default::default() }).await);
    unknown(
        workflows
            .get_run_report(pb::GetRunReportRequest { run_id: text(UNKNOWN), ..Default::default() })
            .await,
    );
    let runs = workflows.list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert!(runs.is_empty());
}
