//! Watching: what is there, a mark, then every change.

use std::time::Duration;

use nova_proto::node::v1::{ProcessState, WatchProcessesRequest, WatchProcessesResponse};
use tonic::{Code, Streaming};

use crate::fixture::{Client, Node, config, restarting, script};

async fn watch(client: &Client, label: Option<&str>) -> Streaming<WatchProcessesResponse> {
    let labels = label.map(|value| ("run".to_owned(), value.to_owned())).into_iter().collect();
    client.clone().watch_processes(WatchProcessesRequest { labels }).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchProcessesResponse>) -> Option<(String, ProcessState)> {
    let message = tokio::time::timeout(Duration::from_secs(60), stream.message()).await.unwrap();
    let process = message.unwrap().unwrap().process?;
    let state = process.state();
    Some((process.spec.unwrap().process_id, state))
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there() {
    let node = Node::start().await;
    node.run(script("a", "exec sleep 600")).await.unwrap();
    node.run(script("b", "exit 0")).await.unwrap();
    node.until("b", ProcessState::Exited).await;
    let mut stream = watch(&node.client, None).await;
    assert_eq!(next(&mut stream).await, Some(("a".to_owned(), ProcessState::Running)));
    assert_eq!(next(&mut stream).await, Some(("b".to_owned(), ProcessState::Exited)));
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn no_change_is_missed() {
    use ProcessState::{BackingOff, Exited, Failed, Running, Stopping};
    let node = Node::start().await;
    let mut stream = watch(&node.client, None).await;
    assert_eq!(next(&mut stream).await, None);
    node.run(restarting("a", "exit 1")).await.unwrap();
    for state in [Running, BackingOff, Running, BackingOff, Running, BackingOff, Running, Failed] {
        assert_eq!(next(&mut stream).await, Some(("a".to_owned(), state)));
    }
    node.run(script("b", "exec sleep 600")).await.unwrap();
    node.stop("b", Duration::from_secs(20)).await.unwrap();
    for state in [Running, Stopping, Exited] {
        assert_eq!(next(&mut stream).await, Some(("b".to_owned(), state)));
    }
}

#[tokio::test]
async fn a_watch_shows_only_what_it_asked_for() {
    let node = Node::start().await;
    let mut stream = watch(&node.client, Some("one")).await;
    assert_eq!(next(&mut stream).await, None);
    for (id, run) in [("a", "two"), ("b", "one")] {
        let mut spec = script(id, "exec sleep 600");
        spec.labels.insert("run".to_owned(), run.to_owned());
        node.run(spec).await.unwrap();
    }
    assert_eq!(next(&mut stream).await, Some(("b".to_owned(), ProcessState::Running)));
}

#[tokio::test]
async fn no_more_streams_are_open_than_may() {
    let node = Node::with(nova_node_agent::Config { max_streams: 1, ..config() }).await;
    let first = watch(&node.client, None).await;
    let refused = node.client.clone().watch_processes(WatchProcessesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(first);
}

#[tokio::test]
async fn a_watch_ends_when_the_node_drains() {
    let node = Node::start().await;
    let mut stream = watch(&node.client, None).await;
    assert_eq!(next(&mut stream).await, None);
    node.server.stop().await;
    let end = tokio::time::timeout(Duration::from_secs(60), stream.message()).await.unwrap();
    assert!(matches!(end, Ok(None)), "{end:?}");
}
