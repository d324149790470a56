//! A Redis that does not sync each write is killed: it loses the last ones, as docs/durability.md says, and nothing else.

use nova_chaos::history::{Answer, Call, Level};
use nova_testkit::redis::RedisServer;
use tempfile::TempDir;

use crate::{
    daemon::Daemon,
    failover::gone,
    load::{Load, count, longer},
};

/// Calls that are answered between two blows.
const CALLS: usize = 60;

/// What may be lost at `everysec`, microseconds.
const TWO_SECONDS: i64 = 2_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_that_syncs_each_second_loses_its_last_two_seconds_at_most() {
    let mut redis = RedisServer::start_with(&["--appendfsync", "everysec"]);
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start(folder.path(), &redis.url());
    let load = Load::start(9, [daemon.address()]);
    for _ in 0..2 * longer() {
        load.get_on(CALLS).await;
        load.go_on_for(TWO_SECONDS + TWO_SECONDS / 4).await;
        let from = load.order_at(load.recorder.now().at - TWO_SECONDS);
        redis.kill();
        let lost = load.recorder.now().order;
        redis.restart();
        load.recorder.lossy(from, lost, load.store_anew().await);
        load.recover().await;
    }
    load.get_on(CALLS).await;
    let (history, _) = load.check().await;
    assert!(count(&history, |_, answer| matches!(answer, Answer::Stored(_, Level::Aof))) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_without_a_log_loses_what_came_after_its_last_snapshot() {
    let mut redis = RedisServer::start_with(&["--appendonly", "no"]);
    let folder = TempDir::new().unwrap();
    let mut daemon = Daemon::start(folder.path(), &redis.url());
    let load = Load::start(10, [daemon.address()]);
    for round in 0..2 * longer() {
        load.get_on(CALLS).await;
        let from = load.recorder.now().order;
        redis.query::<()>(&["SAVE"]);
        load.get_on(CALLS).await;
        redis.kill();
        let lost = load.recorder.now().order;
        redis.restart();
        if round % 2 == 1 {
            // Nobody is left who remembers what was given.
            daemon.kill();
            daemon.restart();
            load.targets.set([daemon.address()]);
        }
        load.recorder.lossy(from, lost, load.store_anew().await);
        load.recover().await;
    }
    load.get_on(CALLS).await;
    let (history, rest) = load.check().await;
    assert!(gone(&history, &rest) > 0, "nothing was lost, so nothing was shown");
    let stored = |call: &Call, answer: &Answer| matches!((call, answer), (Call::Enqueue(_), Answer::Stored(_, level)) if *level != Level::Memory);
    assert_eq!(count(&history, stored), 0, "each answer says that memory is all there is");
}
