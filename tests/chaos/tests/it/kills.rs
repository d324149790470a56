//! Daemons, workers and Redis are killed, and connections cut, under load: nothing that was acknowledged is lost.

use nova_testkit::redis::RedisServer;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    daemon::{Daemon, signal},
    load::{Load, longer},
    proxy::Proxy,
};

/// Calls without an answer after which something has stood still for longer than leases last.
const STUCK: usize = 12;

/// Calls that are answered between two blows.
const CALLS: usize = 60;

async fn kill_and_kill_again(store: &str) {
    let folder = TempDir::new().unwrap();
    let mut daemon = Daemon::start(folder.path(), store);
    let mut load = Load::start(1, [daemon.address()]);
    for _ in 0..3 * longer() {
        load.get_on(CALLS).await;
        load.kill_worker();
        load.get_on(CALLS).await;
        daemon.kill();
        daemon.restart();
        load.targets.set([daemon.address()]);
        load.recover().await;
    }
    load.get_on(CALLS).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_keeps_every_promise_on_sqlite() {
    kill_and_kill_again("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_keeps_every_promise_on_redis() {
    let redis = RedisServer::start();
    kill_and_kill_again(&redis.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_keeps_every_promise_when_each_write_is_synced() {
    let mut redis = RedisServer::start();
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start(folder.path(), &redis.url());
    let load = Load::start(2, [daemon.address()]);
    for _ in 0..2 * longer() {
        load.get_on(CALLS).await;
        redis.restart();
        load.recover().await;
    }
    load.get_on(CALLS).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_daemon_and_a_stopped_redis_break_no_promise() {
    let (redis, folder) = (RedisServer::start(), TempDir::new().unwrap());
    let daemon = Daemon::start(folder.path(), &redis.url());
    let load = Load::start(11, [daemon.address()]);
    for _ in 0..longer() {
        load.get_on(CALLS).await;
        daemon.stop();
        load.get_stuck(STUCK).await;
        daemon.go_on();
        load.recover().await;
        load.get_on(CALLS).await;
        signal(redis.pid(), Signal::STOP);
        load.get_stuck(STUCK).await;
        signal(redis.pid(), Signal::CONT);
        load.recover().await;
    }
    load.get_on(CALLS).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_break_no_promise() {
    let redis = RedisServer::start();
    let (folder, to_redis) = (TempDir::new().unwrap(), Proxy::to(redis.port()));
    let daemon = Daemon::start(folder.path(), &format!("redis://127.0.0.1:{}", to_redis.port()));
    let (_, port) =
        daemon.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.parse())).unwrap();
    let to_daemon = Proxy::to(port.unwrap());
    let load = Load::start(3, [format!("127.0.0.1:{}", to_daemon.port())]);
    for _ in 0..5 * longer() {
        load.get_on(CALLS).await;
        to_redis.cut();
        load.get_on(CALLS).await;
        to_daemon.cut();
    }
    load.get_on(CALLS).await;
    load.check().await;
}
