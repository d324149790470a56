//! Answers name what they survive, where their commit went: also after a failover, and only with enough replicas.

use std::time::Duration;

use nova_proto::queue::v1::Durability;
use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::TestServer;
use nova_testkit::{redis::RedisSentinel, soon};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::harness::{PATIENCE, client, enqueue, task};

/// Nobody fails over because the machine is busy.
const LONG: Duration = Duration::from_secs(60);

/// Longer than an answer takes that waits for nobody.
const A_WHILE: Duration = Duration::from_secs(3);

async fn serve(store: &str) -> (TempDir, TestServer) {
    let folder = TempDir::new().unwrap();
    let server =
        TestServer::builder(folder.path()).store(store).start::<QueueDaemon>(Config::default()).await;
    (folder, server.unwrap())
}

/// Stores a task; nothing when that is not acknowledged.
async fn level(server: &TestServer) -> Option<Durability> {
    let answer = client(server).enqueue(enqueue(vec![task("a")])).await;
    answer.ok().map(|answer| answer.into_inner().durability())
}

async fn eventually_at(server: &TestServer, wanted: Durability) {
    let reached = || async { (level(server).await == Some(wanted)).then_some(()) };
    soon("the level is told", PATIENCE, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_server_without_a_file_is_told_as_such() {
    let redis = RedisSentinel::start(LONG);
    redis.replica.query::<()>(&["CONFIG", "SET", "appendonly", "no"]);
    let (_folder, server) = serve(&redis.url()).await;
    assert_eq!(level(&server).await, Some(Durability::Aof));
    redis.promote();
    eventually_at(&server, Durability::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_that_too_few_replicas_have() {
    let mut redis = RedisSentinel::start(LONG);
    let (_folder, server) = serve(&format!("{}?replicas=1", redis.url())).await;
    assert_eq!(level(&server).await, Some(Durability::Replicated));
    redis.replica.kill();
    let answered = timeout(A_WHILE, level(&server)).await;
    assert!(matches!(answered, Err(_) | Ok(None)), "{answered:?}");
    redis.replica.restart();
    eventually_at(&server, Durability::Replicated).await;
}
