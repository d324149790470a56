//! The key-value store where the primary changes: sentinels or a cluster promote a replica, a slot moves.

use std::sync::Arc;
use std::time::Duration;

use nova_storage::{Commit, CommitError, Kv, RedisKv};
use nova_testkit::redis::{RedisCluster, RedisSentinel, RedisServer};
use nova_testkit::soon;
use tokio::time::timeout;

/// Silence after which a primary is taken for dead.
const SILENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "test";
const TAG: &str = "nkv:test";

async fn open(url: &str) -> Arc<RedisKv> {
    Arc::new(RedisKv::connect(&url.parse().unwrap(), NAME).await.unwrap())
}

/// Commits, however long it takes to find a primary.
async fn commit(store: &RedisKv, value: &str) -> u64 {
    soon("there is a primary", PATIENCE, || async {
        let committed = store.commit(Commit::new().put("k", value)).await;
        assert!(committed.as_ref().err().is_none_or(CommitError::is_retryable), "{committed:?}");
        committed.ok()
    })
    .await
}

/// Kills the primary between two commits; another process sees both.
async fn outlives(url: &str, primary: &mut RedisServer, replica: &RedisServer) {
    let (writer, reader) = (open(url).await, open(url).await);
    let before = commit(&writer, "before").await;
    replica.catch_up_with(primary);
    primary.kill();
    let after = commit(&writer, "after").await;
    assert!(after > before);
    let seen = timeout(PATIENCE, reader.wait_past(before)).await.expect("the watch goes on").unwrap();
    assert_eq!(seen, after);
    let changes = reader.changes("", 0, 10).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.revision).collect::<Vec<_>>(), [before, after]);
    assert!(replica.query::<String>(&["INFO", "replication"]).contains("role:master"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_by_sentinels_is_a_pause() {
    let mut redis = RedisSentinel::start(SILENCE);
    outlives(&redis.url(), &mut redis.primary, &redis.replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_in_a_cluster_is_a_pause() {
    let mut redis = RedisCluster::with_replica_of(TAG, SILENCE);
    let owner = redis.owner(TAG);
    // The others are learnt.
    let url = format!("redis-cluster://127.0.0.1:{}", redis.primaries[owner].port());
    let replica = redis.replica.take().unwrap();
    outlives(&url, &mut redis.primaries[owner], &replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_to_a_node_that_lacks_the_functions() {
    let redis = RedisCluster::start(SILENCE);
    let (writer, reader) = (open(&redis.url()).await, open(&redis.url()).await);
    let before = commit(&writer, "before").await;
    redis.move_slot(TAG, (redis.owner(TAG) + 1) % 3);
    assert_eq!(reader.get("k").await.unwrap().unwrap().value, b"before");
    let after = commit(&writer, "after").await;
    let seen = timeout(PATIENCE, reader.wait_past(before)).await.expect("the watch goes on").unwrap();
    assert_eq!(seen, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_are_loaded_where_keys_are_while_their_slot_moves() {
    let redis = RedisCluster::start(SILENCE);
    let store = open(&redis.url()).await;
    let before = commit(&store, "before").await;
    let to = (redis.owner(TAG) + 1) % 3;
    redis.move_keys(TAG, to);
    let during = store.commit(Commit::new().check("k", Some(before)).put("k", "during")).await.unwrap();
    redis.move_ownership(TAG, to);
    let after = store.commit(Commit::new().check("k", Some(during)).put("k", "after")).await.unwrap();
    assert!(before < during && during < after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_found_while_their_slot_moves() {
    let redis = RedisCluster::start(SILENCE);
    let store = open(&redis.url()).await;
    for number in 0..50 {
        commit(&store, &number.to_string()).await;
    }
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 50..300 {
                commit(&store, &number.to_string()).await;
            }
        }
    });
    let cluster = tokio::task::spawn_blocking(move || {
        redis.move_slot(TAG, (redis.owner(TAG) + 2) % 3);
        redis
    });
    let _redis = cluster.await.unwrap();
    writing.await.unwrap();
    assert_eq!(store.changes("", 0, 1_000).await.unwrap().len(), 300);
    assert_eq!(store.get("k").await.unwrap().unwrap().value, b"299");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_no_replica_has_is_not_acknowledged() {
    let redis = RedisServer::start();
    let store = open(&format!("{}?replicas=1", redis.url())).await;
    let refusal = store.commit(Commit::new().put("k", "v")).await.unwrap_err();
    assert!(refusal.is_retryable() && refusal.to_string().contains("0 replicas have"), "{refusal}");
    let of = redis.port().to_string();
    let _replica = RedisServer::start_with(&["--replicaof", &format!("127.0.0.1 {of}")]);
    commit(&store, "v").await;
}
