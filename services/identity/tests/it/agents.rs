//! The register of agents.

use std::time::Duration;

use nova_proto::identity::v1::{
    AgentIdentity, GetAgentIdentityRequest, ListAgentIdentitiesRequest, RegisterAgentRequest,
};
use tonic::Code;

use crate::daemon::{Daemon, Place, assert_invalid, assert_refused};

async fn register(daemon: &Daemon, namespace: &str, agent: &str) -> AgentIdentity {
    let request = RegisterAgentRequest { namespace: namespace.to_owned(), agent_id: agent.to_owned() };
    let answer = daemon.identity("svc/lifecycle", &[]).register_agent(request).await;
    answer.unwrap().into_inner().identity.unwrap()
}

async fn list(daemon: &Daemon, page_size: u32, page_token: String) -> (Vec<String>, String) {
    let request = ListAgentIdentitiesRequest { namespace: String::new(), page_size, page_token };
    let answer = daemon.identity("user/ada", &[]).list_agent_identities(request).await.unwrap().into_inner();
    (answer.identities.into_iter().map(|identity| identity.agent_id).collect(), answer.next_page_token)
}

#[tokio::test]
async fn an_agent_keeps_the_identity_that_it_was_given_first() {
    for place in Place::both() {
        let daemon = place.start().await;
        let first = register(&daemon, "", "orion").await;
        assert_eq!(first.spiffe_id, "spiffe://nova.local/agent/orion");
        assert_eq!(first.namespace, "default");
        place.clock.advance(Duration::from_secs(60));
        assert_eq!(register(&daemon, "default", "orion").await, first);
        daemon.stop().await;

        let daemon = place.start().await;
        let request = GetAgentIdentityRequest { namespace: String::new(), agent_id: "orion".to_owned() };
        let got = daemon.identity("user/ada", &[]).get_agent_identity(request).await.unwrap().into_inner();
        assert_eq!(got.identity, Some(first));
    }
}

#[tokio::test]
async fn agents_are_listed_page_by_page_in_their_namespace() {
    for place in Place::both() {
        let daemon = place.start().await;
        for agent in ["vega", "orion", "lyra"] {
            register(&daemon, "", agent).await;
        }
        register(&daemon, "default-2", "mira").await;
        let (first, token) = list(&daemon, 2, String::new()).await;
        assert_eq!(first, ["lyra", "orion"]);
        let (second, token) = list(&daemon, 2, token).await;
        assert_eq!((second, token), (vec!["vega".to_owned()], String::new()));
    }
}

#[tokio::test]
async fn an_unknown_agent_is_not_found() {
    let daemon = Place::sqlite().start().await;
    let request = GetAgentIdentityRequest { namespace: "other".to_owned(), agent_id: "orion".to_owned() };
    let answer = daemon.identity("user/ada", &[]).get_agent_identity(request).await;
    assert_refused(answer, Code::NotFound, "NOT_FOUND");
}

#[tokio::test]
async fn bad_names_sizes_and_tokens_are_named() {
    let daemon = Place::sqlite().start().await;
    let mut calls = daemon.identity("user/ada", &[]);
    let request = RegisterAgentRequest { namespace: "No".to_owned(), agent_id: String::new() };
    assert_invalid(calls.register_agent(request.clone()).await, "namespace");
    assert_invalid(calls.register_agent(request).await, "agent_id");
    let request = GetAgentIdentityRequest { namespace: String::new(), agent_id: "x".repeat(64) };
    assert_invalid(calls.get_agent_identity(request).await, "agent_id");
    let request = ListAgentIdentitiesRequest { page_size: 1_001, ..ListAgentIdentitiesRequest::default() };
    assert_invalid(calls.list_agent_identities(request).await, "page_size");
    let request =
        ListAgentIdentitiesRequest { page_token: "%".to_owned(), ..ListAgentIdentitiesRequest::default() };
    assert_invalid(calls.list_agent_identities(request).await, "page_token");
}
