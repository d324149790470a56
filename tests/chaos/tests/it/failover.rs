//! Redis fails over to a replica that has not seen the last commits: they are lost, as a suffix, and nothing else is.

use std::collections::BTreeSet;

use nova_chaos::history::{Answer, Call, History, Level, Rest};
use nova_testkit::redis::RedisServer;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    daemon::{Daemon, signal},
    load::{Load, count, longer},
    proxy::Proxy,
};

/// Calls that are answered between two blows.
const CALLS: usize = 100;

/// Servers that keep nothing on a disk.
const MEMORY: &[&str] = &["--appendonly", "no", "--save", ""];

/// A replica that has seen all of a server.
fn replica_of(primary: &RedisServer, settings: &[&str]) -> RedisServer {
    let of = format!("127.0.0.1 {}", primary.port());
    let replica = RedisServer::start_with(&[&["--replicaof", &of], settings].concat());
    replica.catch_up_with(primary);
    replica
}

async fn fail_over(daemons: usize, settings: &[&str], level: Level, seed: u64) {
    let (folder, mut primary) = (TempDir::new().unwrap(), RedisServer::start_with(settings));
    let proxy = Proxy::to(primary.port());
    let store = format!("redis://127.0.0.1:{}", proxy.port());
    let start = |number: usize| Daemon::start(&folder.path().join(number.to_string()), &store);
    let mut daemons: Vec<_> = (0..daemons).map(start).collect();
    let load = Load::start(seed, daemons.iter().map(Daemon::address));
    for _ in 0..longer() {
        let replica = replica_of(&primary, settings);
        load.get_on(CALLS).await;
        let from = load.recorder.now().order;
        replica.catch_up_with(&primary);
        // From here on the replica hears no more, and the primary acknowledges on.
        replica.query::<()>(&["REPLICAOF", "NO", "ONE"]);
        load.get_on(CALLS).await;
        primary.kill();
        let lost = load.recorder.now().order;
        proxy.point_at(replica.port());
        if daemons.len() > 1 {
            // The leader goes with the server: another one has to take over what is left.
            daemons[0].kill();
            load.targets.set([daemons[1].address()]);
        }
        let until = load.store_anew().await;
        load.recorder.lossy(from, lost, until);
        primary = replica;
        if daemons.len() > 1 {
            daemons[0].restart();
            daemons.swap(0, 1);
            load.targets.set(daemons.iter().map(Daemon::address));
        }
    }
    load.get_on(CALLS).await;
    let (history, rest) = load.check().await;
    assert!(gone(&history, &rest) > 0, "the failover lost nothing, so it showed nothing");
    let other = |_: &Call, answer: &Answer| matches!(answer, Answer::Stored(_, told) if *told != level);
    assert_eq!(count(&history, other), 0, "each answer names {level:?}");
}

/// How many enqueues were acknowledged whose tasks are not there, though nobody forgot them.
pub(crate) fn gone(history: &History, rest: &Rest) -> usize {
    let purged: BTreeSet<&str> = history.operations.iter().filter_map(|one| purges(&one.call)).collect();
    let stands: BTreeSet<&str> = rest.tasks.iter().map(|task| task.id.as_str()).collect();
    count(history, |call, answer| match (call, answer) {
        (Call::Enqueue(_), Answer::Stored(ids, _)) => {
            ids.iter().any(|(id, _)| !stands.contains(id.as_str()) && !purged.contains(id.as_str()))
        }
        _ => false,
    })
}

fn purges(call: &Call) -> Option<&str> {
    match call {
        Call::Purge(id) => Some(id),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_redis_loses_the_last_commits_and_nothing_else() {
    fail_over(1, &[], Level::Aof, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_redis_without_a_file_loses_no_more() {
    fail_over(1, MEMORY, Level::Memory, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_redis_and_of_the_leader_at_once_gives_no_token_twice() {
    fail_over(2, &[], Level::Aof, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_waits_for_replicas_and_one_that_hangs_stops_nobody() {
    let (folder, primary) = (TempDir::new().unwrap(), RedisServer::start());
    let replica = replica_of(&primary, &[]);
    signal(replica.pid(), Signal::STOP);
    let daemon = Daemon::start(folder.path(), &primary.url());
    let load = Load::start(12, [daemon.address()]);
    load.get_on(CALLS).await;
    signal(replica.pid(), Signal::CONT);
    let commands: String = primary.query(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_wait:"), "{commands}");
    load.check().await;
}
