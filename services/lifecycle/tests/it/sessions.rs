//! SessionService.

use nova_proto::lifecycle::v1 as pb;
use tonic::Code;

use crate::server::{Daemon, reason};

fn start(context: &str, request_id: &str) -> pb::StartSessionRequest {
    pb::StartSessionRequest {
        agent_id: "orion".to_owned(),
        context_json: context.to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

fn update(id: &str, session: pb::Session, paths: &[&str]) -> pb::UpdateSessionRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateSessionRequest {
        session_id: id.to_owned(),
        session: Some(session),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

async fn opened(daemon: &Daemon, context: &str) -> pb::Session {
    daemon.register("orion").await;
    daemon.sessions().start_session(start(context, "")).await.unwrap().into_inner().session.unwrap()
}

#[tokio::test]
async fn the_same_request_opens_one_session() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let first = daemon.sessions().start_session(start("{}", "a")).await.unwrap().into_inner();
    let again = daemon.sessions().start_session(start("{}", "a")).await.unwrap().into_inner();
    assert_eq!(first, again);
    let other = daemon.sessions().start_session(start(r#"{"x":1}"#, "a")).await.unwrap_err();
    assert_eq!(reason(&other), "IDEMPOTENCY_MISMATCH");
}

#[tokio::test]
async fn a_session_needs_an_agent_that_is_known() {
    let daemon = Daemon::start().await;
    let status = daemon.sessions().start_session(start("{}", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_merges_the_context() {
    let daemon = Daemon::start().await;
    let session = opened(&daemon, r#"{"a":1,"b":2}"#).await;
    let change = pb::Session {
        state: pb::SessionState::Processing.into(),
        context_json: r#"{"a":null,"c":3}"#.to_owned(),
        ..Default::default()
    };
    let only_context = update(&session.id, change.clone(), &["context_json"]);
    let after = daemon.sessions().update_session(only_context).await.unwrap().into_inner().session.unwrap();
    assert_eq!(after.context_json, r#"{"b":2,"c":3}"#);
    assert_eq!(after.state(), pb::SessionState::Waiting);
    let both = update(&session.id, change, &["state", "context_json"]);
    let after = daemon.sessions().update_session(both).await.unwrap().into_inner().session.unwrap();
    assert_eq!(after.state(), pb::SessionState::Processing);
}

#[tokio::test]
async fn a_stale_etag_and_an_illegal_move_change_nothing() {
    let daemon = Daemon::start().await;
    let session = opened(&daemon, "{}").await;
    let completed = pb::Session { state: pb::SessionState::Completed.into(), ..Default::default() };
    let request = update(&session.id, completed.clone(), &["state"]);
    let status = daemon.sessions().update_session(request).await.unwrap_err();
    assert_eq!(reason(&status), "ILLEGAL_TRANSITION");
    let request =
        pb::UpdateSessionRequest { etag: "9".to_owned(), ..update(&session.id, completed, &["state"]) };
    let status = daemon.sessions().update_session(request).await.unwrap_err();
    assert_eq!(reason(&status), "ETAG_MISMATCH");
}

#[tokio::test]
async fn a_page_of_sessions_fits_a_message_however_large_their_contexts_are() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    let context = format!(r#"{{"x":"{}"}}"#, "x".repeat(250 << 10));
    for _ in 0..20 {
        daemon.sessions().start_session(start(&context, "")).await.unwrap();
    }
    for agent in ["", "orion"] {
        let (mut found, mut page_token) = (0, String::new());
        loop {
            let request = pb::ListSessionsRequest {
                agent_id: agent.to_owned(),
                page_size: 1_000,
                page_token,
                ..Default::default()
            };
            let page = daemon.sessions().list_sessions(request).await.unwrap().into_inner();
            found += page.sessions.len();
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, 20, "of agent {agent:?}");
    }
}

#[tokio::test]
async fn sessions_are_found_by_agent_and_by_run_newest_first() {
    let daemon = Daemon::start().await;
    daemon.register("orion").await;
    daemon.register("echo").await;
    let run = "0190163d-8694-739b-aea5-966c26f8ad91";
    for (agent, run) in [("orion", run), ("echo", run), ("orion", "")] {
        daemon.clock.advance(std::time::Duration::from_millis(5));
        let request = pb::StartSessionRequest {
            agent_id: agent.to_owned(),
            run_id: run.to_owned(),
            ..Default::default()
        };
        daemon.sessions().start_session(request).await.unwrap();
    }
    for (agent, run, expected) in [
        ("", "", vec!["orion", "echo", "orion"]),
        ("orion", "", vec!["orion", "orion"]),
        ("", run, vec!["echo", "orion"]),
        ("echo", run, vec!["echo"]),
    ] {
        let request = pb::ListSessionsRequest {
            agent_id: agent.to_owned(),
            run_id: run.to_owned(),
            ..Default::default()
        };
        let found = daemon.sessions().list_sessions(request).await.unwrap().into_inner().sessions;
        let agents: Vec<&str> = found.iter().map(|session| session.agent_id.as_str()).collect();
        assert_eq!(agents, expected);
    }
}
