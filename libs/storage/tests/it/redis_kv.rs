//! What only the store over Redis has: many processes, and a server that can go away.

use std::sync::Arc;
use std::time::Duration;

use nova_storage::{Commit, CommitError, Error, Kv, RedisKv};
use nova_testkit::redis::RedisServer;
use tokio::time::Instant;

/// Less than the five seconds after which a watcher looks by itself.
const PROMPT: Duration = Duration::from_secs(4);

async fn open(server: &RedisServer, name: &str) -> RedisKv {
    RedisKv::connect(&server.url().parse().unwrap(), name).await.unwrap()
}

/// Kills the server and starts it again, while the tasks of the test go on.
async fn restart(mut server: RedisServer) -> RedisServer {
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    restarting.await.unwrap()
}

#[tokio::test]
async fn waiting_sees_commits_of_another_process() {
    let server = RedisServer::start();
    let (reader, writer) = (open(&server, "test").await, open(&server, "test").await);
    let mut seen = 0;
    for n in 0..20 {
        let revision = writer.commit(Commit::new().put("k", n.to_string())).await.unwrap();
        seen = tokio::time::timeout(PROMPT, reader.wait_past(seen)).await.expect("wakes promptly").unwrap();
        assert_eq!(seen, revision);
    }
}

#[tokio::test]
async fn stores_of_other_names_are_apart() {
    let server = RedisServer::start();
    let (queue, policy) = (open(&server, "queue").await, open(&server, "policy").await);
    queue.commit(Commit::new().put("k", "v")).await.unwrap();
    assert_eq!(policy.get("k").await.unwrap(), None);
    assert_eq!(policy.revision().await.unwrap(), 0);
}

#[tokio::test]
async fn a_restart_of_the_server_is_a_pause_that_loses_nothing() {
    let mut server = RedisServer::start();
    let store = Arc::new(open(&server, "test").await);
    let before = store.commit(Commit::new().put("k", "before")).await.unwrap();
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.wait_past(before).await.unwrap() }
    });
    server.kill();
    let during = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(Commit::new().check("k", Some(before)).put("k", "during")).await }
    });
    tokio::task::yield_now().await;
    server = restart(server).await;
    let after = during.await.unwrap().unwrap();
    assert!(after > before);
    assert_eq!(waiting.await.unwrap(), after);
    assert_eq!(store.get("k").await.unwrap().unwrap().value, b"during");
    drop(server);
}

#[tokio::test]
async fn a_commit_whose_time_ends_while_the_server_is_away_never_lands() {
    let mut server = RedisServer::start();
    let store = Arc::new(open(&server, "test").await);
    server.kill();
    let end = Instant::now() + Duration::from_millis(50);
    let late = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(Commit::new().put("k", "late").before(end)).await }
    });
    tokio::time::sleep_until(end).await;
    server = restart(server).await;
    let late = late.await.unwrap();
    assert!(matches!(late, Err(CommitError::Store(Error::TooLate))), "{late:?}");
    assert_eq!(store.get("k").await.unwrap(), None);
    drop(server);
}

#[tokio::test]
async fn commits_during_restarts_happen_exactly_once() {
    let mut server = RedisServer::start();
    let store = Arc::new(open(&server, "test").await);
    store.commit(Commit::new().put("counter", "0")).await.unwrap();
    let (progress, mut counted) = tokio::sync::watch::channel(0);
    let counting = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for count in 1..u32::MAX {
                increment(&store, count).await;
                if progress.send(count).is_err() {
                    return count;
                }
            }
            unreachable!("the test is over long before")
        }
    });
    for _ in 0..5 {
        let before = *counted.borrow();
        counted.wait_for(|count| *count >= before + 40).await.unwrap();
        server = restart(server).await;
    }
    drop(counted);
    let count = counting.await.unwrap();
    assert_eq!(store.get("counter").await.unwrap().unwrap().value, count.to_string().into_bytes());
}

/// A commit that was applied, whose answer was lost, must not be told of a conflict with itself.
async fn increment(store: &RedisKv, count: u32) {
    let entry = store.get("counter").await.unwrap().unwrap();
    assert_eq!(entry.value, (count - 1).to_string().into_bytes());
    let next = Commit::new().check("counter", Some(entry.version)).put("counter", count.to_string());
    store.commit(next).await.unwrap_or_else(|error| panic!("{error} at {count}"));
}
