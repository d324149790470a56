//! Memories are written under a lease only while it stands.

use std::time::Duration;

use nova_proto::memory::v1::{PutMemoryRequest, SearchMemoriesRequest};
use nova_rpc::lease::{HEADER, Lease};
use nova_runtime::testing::TestAuthority;
use nova_types::{Clock as _, Namespace, SpiffeId, TaskId, Timestamp};
use tonic::{Code, Request};

use crate::daemon::{Daemon, Place, START, assert_refused};
use crate::memories::draft;

const LIFE: Duration = Duration::from_secs(10);

/// The lease `token` of one task, for an agent.
fn lease(token: u64, place: &Place) -> Lease {
    Lease {
        namespace: Namespace::default(),
        task: TaskId::new(Timestamp::from_micros(START)),
        attempt: 1,
        token,
        holder: SpiffeId::parse("holder", "spiffe://nova.local/agent/orion").unwrap(),
        not_after: place.clock.now() + LIFE,
    }
}

/// Leases of one task, with growing tokens.
fn leases(place: &Place) -> (Lease, Lease) {
    let first = lease(7, place);
    (first.clone(), Lease { token: 9, attempt: 2, ..first })
}

fn under(lease: &Lease, message: PutMemoryRequest) -> Request<PutMemoryRequest> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, TestAuthority::shared().proof(lease).parse().unwrap());
    request
}

/// What is remembered, in the order of the alphabet.
async fn texts(daemon: &Daemon) -> Vec<String> {
    let found = daemon.memory("agent/vega").search_memories(SearchMemoriesRequest::default()).await;
    let hits = found.unwrap().into_inner().hits;
    let mut texts: Vec<_> = hits.into_iter().map(|hit| hit.memory.unwrap().text).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn an_agent_writes_under_a_lease_that_stands_and_never_without() {
    for place in Place::both() {
        let daemon = place.start().await;
        let mut calls = daemon.memory("agent/orion");
        let (lease, _) = leases(&place);
        for text in ["one", "two"] {
            calls.put_memory(under(&lease, draft(text))).await.unwrap();
        }
        let bare = calls.put_memory(draft("bare")).await;
        assert_refused(bare, Code::FailedPrecondition, "LEASE_REQUIRED");
        assert_eq!(texts(&daemon).await, ["one", "two"]);
    }
}

#[tokio::test]
async fn a_proof_that_has_ended_writes_nothing_even_if_nobody_else_has_written() {
    for place in Place::both() {
        let daemon = place.start().await;
        let mut calls = daemon.memory("agent/orion");
        let (lease, _) = leases(&place);
        calls.put_memory(under(&lease, draft("in time"))).await.unwrap();
        place.clock.advance(LIFE);
        let late = calls.put_memory(under(&lease, draft("late"))).await;
        assert_refused(late, Code::FailedPrecondition, "LEASE_LOST");
        assert_eq!(texts(&daemon).await, ["in time"]);
    }
}

#[tokio::test]
async fn an_older_lease_than_one_seen_writes_nothing_whatever_the_clocks_say() {
    for place in Place::both() {
        let daemon = place.start().await;
        let mut calls = daemon.memory("agent/orion");
        let (old, new) = leases(&place);
        let named = |text: &str| PutMemoryRequest { request_id: text.to_owned(), ..draft(text) };
        calls.put_memory(under(&old, named("old"))).await.unwrap();
        calls.put_memory(under(&new, named("new"))).await.unwrap();
        for stale in [draft("stale"), named("stale")] {
            let refused = calls.put_memory(under(&old, stale)).await;
            assert_refused(refused, Code::FailedPrecondition, "LEASE_LOST");
        }
        assert_eq!(texts(&daemon).await, ["new", "old"]);
        daemon.stop().await;

        let daemon = place.start().await;
        let mut calls = daemon.memory("agent/orion");
        let refused = calls.put_memory(under(&old, draft("after a restart"))).await;
        assert_refused(refused, Code::FailedPrecondition, "LEASE_LOST");
    }
}

#[tokio::test]
async fn the_proof_of_another_and_of_another_mesh_are_refused() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    let (lease, _) = leases(&place);
    let stolen = daemon.memory("agent/vega").put_memory(under(&lease, draft("stolen"))).await;
    assert_refused(stolen, Code::Unauthenticated, "UNAUTHENTICATED");
    let mut forged = Request::new(draft("forged"));
    forged.metadata_mut().insert(HEADER, TestAuthority::new().proof(&lease).parse().unwrap());
    let forged = daemon.memory("agent/orion").put_memory(forged).await;
    assert_refused(forged, Code::Unauthenticated, "UNAUTHENTICATED");
    assert!(texts(&daemon).await.is_empty());
}
