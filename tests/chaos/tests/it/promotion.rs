//! Redis promotes a replica by itself, since sentinels or the nodes of a cluster miss the primary: one daemon goes on.

use std::time::{Duration, Instant};

use nova_chaos::history::{Answer, Level};
use nova_testkit::{
    eventually,
    redis::{RedisCluster, RedisSentinel, RedisServer},
};
use tempfile::TempDir;

use crate::{
    daemon::Daemon,
    load::{Load, count},
};

/// Calls that are answered between two blows.
const CALLS: usize = 100;

/// Silence after which a primary is taken for dead.
const SILENCE: Duration = Duration::from_secs(2);

/// From the death of a primary until a new task is stored: silence, an election, and the daemon's own search.
const BOUND: Duration = Duration::from_secs(60);

/// The hash tag of the queue's ledger.
const TAG: &str = "nova.queue";

/// Kills the primary under load: what the replica had seen stays, what it had not may go as a suffix.
async fn primary_dies(store: &str, seed: u64, primary: &mut RedisServer, replica: &RedisServer) {
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start(folder.path(), store);
    let load = Load::start(seed, [daemon.address()]);
    load.get_on(CALLS).await;
    let from = load.recorder.now().order;
    replica.catch_up_with(primary);
    load.get_on(CALLS).await;
    primary.kill();
    let lost = load.recorder.now().order;
    let until = serves_again(&load).await;
    load.recorder.lossy(from, lost, until);
    load.get_on(CALLS).await;
    load.check().await;
}

async fn serves_again(load: &Load) -> u64 {
    let begun = Instant::now();
    let until = load.store_anew().await;
    assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
    until
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_goes_on_when_sentinels_promote_the_replica() {
    let mut redis = RedisSentinel::start(SILENCE);
    primary_dies(&redis.url(), 8, &mut redis.primary, &redis.replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_goes_on_when_a_cluster_promotes_the_replica() {
    let mut redis = RedisCluster::with_replica_of(TAG, SILENCE);
    let (store, owner) = (redis.url(), redis.owner(TAG));
    let replica = redis.replica.take().unwrap();
    primary_dies(&store, 9, &mut redis.primaries[owner], &replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_goes_on_while_its_slot_moves_to_another_node() {
    let (redis, folder) = (RedisCluster::start(SILENCE), TempDir::new().unwrap());
    let daemon = Daemon::start(folder.path(), &redis.url());
    let load = Load::start(10, [daemon.address()]);
    load.get_on(CALLS).await;
    redis.move_slot(TAG, (redis.owner(TAG) + 1) % 3);
    load.store_anew().await;
    load.get_on(CALLS).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_had_to_acknowledge_survives_the_primary() {
    let (mut redis, folder) = (RedisSentinel::start(SILENCE), TempDir::new().unwrap());
    let daemon = Daemon::start(folder.path(), &format!("{}?replicas=1", redis.url()));
    let load = Load::start(11, [daemon.address()]);
    load.get_on(2 * CALLS).await;
    redis.primary.kill();
    // Whoever promotes a server, or makes it a replica, cuts its connections.
    eventually("the replica is promoted", BOUND, || {
        let info: String = redis.replica.try_query(&["INFO", "replication"]).ok()?;
        info.contains("role:master").then_some(())
    });
    // Without a replica nothing is acknowledged: the old primary becomes one.
    redis.primary.restart();
    let promoted = redis.replica.port().to_string();
    let replicate = || redis.primary.try_query::<()>(&["REPLICAOF", "127.0.0.1", &promoted]).ok();
    eventually("the old primary is a replica", BOUND, replicate);
    load.recorder.restarted();
    serves_again(&load).await;
    load.get_on(CALLS).await;
    let (history, _) = load.check().await;
    let replicated = count(&history, |_, answer| matches!(answer, Answer::Stored(_, Level::Replicated)));
    let stored = count(&history, |_, answer| matches!(answer, Answer::Stored(..)));
    assert_eq!(replicated, stored);
}
