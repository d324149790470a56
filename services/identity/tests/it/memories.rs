//! Put and get.

use std::time::Duration;

use nova_proto::memory::v1::{GetMemoryRequest, Memory, MemoryKind, PutMemoryRequest};
use tonic::Code;

use crate::daemon::{Daemon, Place, assert_invalid, assert_refused};

/// A memory with all that is required.
pub(crate) fn draft(text: &str) -> PutMemoryRequest {
    PutMemoryRequest {
        text: text.to_owned(),
        kind: MemoryKind::Episodic.into(),
        importance: 0.5,
        ..PutMemoryRequest::default()
    }
}

/// Stores a memory as a worker.
pub(crate) async fn put(daemon: &Daemon, request: PutMemoryRequest) -> (Memory, bool) {
    let answer = daemon.memory("worker/orion").put_memory(request).await.unwrap().into_inner();
    (answer.memory.unwrap(), answer.duplicate)
}

async fn get(daemon: &Daemon, memory: &Memory) -> Memory {
    let request = GetMemoryRequest { namespace: memory.namespace.clone(), memory_id: memory.id.clone() };
    daemon.memory("agent/vega").get_memory(request).await.unwrap().into_inner().memory.unwrap()
}

#[tokio::test]
async fn a_memory_is_read_back_as_it_was_written_also_after_a_restart() {
    for place in Place::both() {
        let daemon = place.start().await;
        let request = PutMemoryRequest {
            data_json: r#"{"disk": [1, "ä"]}"#.to_owned(),
            labels: [("run".to_owned(), "r-1".to_owned())].into(),
            ..draft("The disk is full: 97 %\n\u{1f4be}")
        };
        let (memory, duplicate) = put(&daemon, request.clone()).await;
        assert!(!duplicate);
        assert_eq!(memory.author, "spiffe://nova.local/worker/orion");
        assert_eq!(
            (&memory.text, &memory.data_json, &memory.labels),
            (&request.text, &request.data_json, &request.labels)
        );
        assert_eq!((memory.kind, memory.importance), (request.kind, 0.5));
        assert_eq!(get(&daemon, &memory).await, memory);
        daemon.stop().await;

        assert_eq!(get(&place.start().await, &memory).await, memory);
    }
}

#[tokio::test]
async fn the_same_request_is_stored_once() {
    for place in Place::both() {
        let daemon = place.start().await;
        let request = PutMemoryRequest { request_id: "run/step/1".to_owned(), ..draft("once") };
        let (first, _) = put(&daemon, request.clone()).await;
        place.clock.advance(Duration::from_secs(60));
        assert_eq!(put(&daemon, request.clone()).await, (first.clone(), true));

        let elsewhere = PutMemoryRequest { namespace: "other".to_owned(), ..request };
        let (other, duplicate) = put(&daemon, elsewhere).await;
        assert!(!duplicate);
        assert_ne!(other.id, first.id);
    }
}

#[tokio::test]
async fn the_same_request_from_many_at_once_is_stored_once() {
    for place in Place::both() {
        let daemon = place.start().await;
        let request = PutMemoryRequest { request_id: "contended".to_owned(), ..draft("once") };
        let puts = (0..16).map(|_| put(&daemon, request.clone()));
        let stored = futures::future::join_all(puts).await;
        assert!(stored.iter().all(|(memory, _)| memory.id == stored[0].0.id));
        assert_eq!(stored.iter().filter(|(_, duplicate)| !duplicate).count(), 1);
    }
}

#[tokio::test]
async fn a_request_id_used_for_another_body_is_a_mismatch() {
    for place in Place::both() {
        let daemon = place.start().await;
        let request = PutMemoryRequest { request_id: "run/step/1".to_owned(), ..draft("one") };
        put(&daemon, request.clone()).await;
        for other in [
            PutMemoryRequest { text: "two".to_owned(), ..request.clone() },
            PutMemoryRequest { importance: 0.6, ..request.clone() },
            PutMemoryRequest { data_json: "{}".to_owned(), ..request.clone() },
            PutMemoryRequest { kind: MemoryKind::Semantic.into(), ..request.clone() },
            PutMemoryRequest { labels: [("a".to_owned(), "b".to_owned())].into(), ..request.clone() },
        ] {
            let answer = daemon.memory("worker/orion").put_memory(other).await;
            assert_refused(answer, Code::Aborted, "IDEMPOTENCY_MISMATCH");
        }
    }
}

#[tokio::test]
async fn nobody_is_given_the_memory_of_another_author_for_the_same_request() {
    for place in Place::both() {
        let daemon = place.start().await;
        let request = PutMemoryRequest { request_id: "run/step/1".to_owned(), ..draft("one") };
        put(&daemon, request.clone()).await;
        let answer = daemon.memory("worker/vega").put_memory(request.clone()).await;
        assert_refused(answer, Code::Aborted, "IDEMPOTENCY_MISMATCH");
        assert!(put(&daemon, request).await.1, "its author is still told that it is known");
    }
}

#[tokio::test]
async fn a_request_id_is_free_again_when_its_window_has_passed() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    let request = PutMemoryRequest { request_id: "daily".to_owned(), ..draft("one") };
    put(&daemon, request.clone()).await;
    place.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    let (_, duplicate) = put(&daemon, PutMemoryRequest { text: "two".to_owned(), ..request }).await;
    assert!(!duplicate);
}

#[tokio::test]
async fn an_unknown_memory_is_not_found_also_in_another_namespace() {
    let daemon = Place::sqlite().start().await;
    let (memory, _) = put(&daemon, draft("here")).await;
    let request = GetMemoryRequest { namespace: "other".to_owned(), memory_id: memory.id };
    assert_refused(daemon.memory("agent/vega").get_memory(request).await, Code::NotFound, "NOT_FOUND");
}

#[tokio::test]
async fn bad_fields_are_named_and_nothing_is_stored() {
    let daemon = Place::sqlite().start().await;
    let mut calls = daemon.memory("worker/orion");
    let many = (0..33).map(|number| (number.to_string(), String::new())).collect();
    for (field, bad) in [
        ("namespace", PutMemoryRequest { namespace: "No!".to_owned(), ..draft("x") }),
        ("request_id", PutMemoryRequest { request_id: "x".repeat(129), ..draft("x") }),
        ("kind", PutMemoryRequest { kind: 0, ..draft("x") }),
        ("kind", PutMemoryRequest { kind: 77, ..draft("x") }),
        ("text", draft("")),
        ("text", draft(&"x".repeat(64 * 1024 + 1))),
        ("data_json", PutMemoryRequest { data_json: "{".to_owned(), ..draft("x") }),
        (
            "data_json",
            PutMemoryRequest { data_json: format!("\"{}\"", "x".repeat(256 * 1024)), ..draft("x") },
        ),
        ("labels", PutMemoryRequest { labels: many, ..draft("x") }),
        ("importance", PutMemoryRequest { importance: 1.1, ..draft("x") }),
        ("importance", PutMemoryRequest { importance: f64::NAN, ..draft("x") }),
    ] {
        assert_invalid(calls.put_memory(bad).await, field);
    }
    let request = GetMemoryRequest { namespace: String::new(), memory_id: "7".to_owned() };
    assert_invalid(calls.get_memory(request).await, "memory_id");
    assert!(crate::search::texts(&daemon, "").await.is_empty());
}

#[tokio::test]
async fn the_largest_memory_fits_into_the_store() {
    for place in Place::both() {
        let daemon = place.start().await;
        let request = PutMemoryRequest {
            data_json: format!("[\"{}\"]", "\\\"".repeat(128 * 1024 - 2)),
            labels: (0..32).map(|number| (format!("{number:064}"), "\"".repeat(256))).collect(),
            ..draft(&"\u{1}".repeat(64 * 1024))
        };
        let (memory, _) = put(&daemon, request).await;
        assert_eq!(get(&daemon, &memory).await, memory);
    }
}
