//! The same on Redis: the queue's and the key-value's state are there.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use nova_testkit::redis::{RedisCluster, RedisSentinel, RedisServer, RedisTls};
use nova_testkit::{Nova, eventually};
use serde_json::Value;

use crate::kill::{at_some_point, begin, ends_well, kept_mesh, outlast};
use crate::run::orchestrated;

/// Nobody fails over because the machine is busy.
const LONG: Duration = Duration::from_secs(60);
/// What is made from the store again, when it is missing.
const INDEX: &str = "memory-index.db";

fn a_plan_runs_and_stays_readable(store: &str) {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    let run = orchestrated(&nova, &[]);
    nova.run(&["down"]).ok();
    nova.run(&["up", "--store", store]).ok();
    let shown = nova.run(&["workflow", "show", &run.id]).ok();
    assert!(shown.contains("foundation"), "{shown}");
    assert_eq!(state_in(&nova.home().join("daemons")), Vec::<String>::new(), "state is beside the store");
}

/// Names of files below a folder that would hold state of the queue or of the key-value store.
fn state_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of the home").flatten();
    let names = entries.flat_map(|entry| {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() { state_in(&path) } else { vec![name] }
    });
    names.filter(|name| name.ends_with(".db") && name != INDEX).collect()
}

#[test]
fn a_plan_runs_on_redis_and_stays_readable() {
    a_plan_runs_and_stays_readable(&RedisServer::start().url());
}

#[test]
fn a_plan_runs_on_a_cluster_and_stays_readable() {
    a_plan_runs_and_stays_readable(&RedisCluster::start(LONG).url());
}

#[test]
fn a_plan_runs_where_sentinels_say_and_stays_readable() {
    let redis = RedisSentinel::start(LONG);
    a_plan_runs_and_stays_readable(&format!("{}?replicas=1", redis.url()));
}

#[test]
fn a_plan_runs_on_redis_over_tls_and_stays_readable() {
    let tls = RedisTls::new();
    let (_server, port) = tls.server();
    a_plan_runs_and_stays_readable(&tls.url(port));
}

#[test]
fn a_home_keeps_to_the_last_store_that_worked() {
    let (redis, nova) = (RedisServer::start(), Nova::new());
    let refused = nova.run(&["up", "--store", "redis://:hidden@127.0.0.1:1/0"]);
    assert_ne!(refused.code, 0);
    nova.run(&["workflow", "ls"]).ok();
    let kept = state_in(&nova.home().join("daemons"));
    assert!(["queue.db", "kv.db"].iter().all(|file| kept.iter().any(|kept| kept == file)), "{kept:?}");
    let store = redis.url();
    nova.run(&["up", "--store", &store]).ok();
    let supervisor = nova.mesh_file().expect("a mesh runs")["pid"].clone();
    let arguments = std::fs::read_to_string(format!("/proc/{supervisor}/cmdline")).expect("this is Linux");
    assert!(!arguments.contains("redis"), "{arguments}");
    let run = orchestrated(&nova, &["--skip", "rehearsal"]);
    nova.run(&["down"]).ok();
    nova.run(&["workflow", "show", &run.id]).ok();
    let again = nova.run(&["up"]);
    assert!(again.stderr.contains(&format!("the store is {store}")), "{}", again.stderr);
    nova.run(&["workflow", "show", &run.id]).ok();
}

#[test]
fn a_store_belongs_to_one_mesh() {
    let (redis, first, second) = (RedisServer::start(), Nova::new(), Nova::new());
    let store = redis.url();
    first.run(&["up", "--store", &store]).ok();
    let refused = second.run(&["up", "--store", &store]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("the store belongs to another mesh"), "{}", refused.stderr);
    first.run(&["down"]).ok();
    first.run(&["up"]).ok();
}

#[test]
fn a_server_that_is_no_redis_is_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            stream.and_then(|mut stream| stream.write_all(b"<html>\n")).ok();
        }
    });
    let refused = Nova::new().run(&["up", "--store", &format!("redis://{address}")]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    let words = format!("cannot reach redis at {address}: what answers there does not speak");
    assert!(refused.stderr.contains(&words), "{}", refused.stderr);
}

#[test]
fn a_store_that_is_gone_is_named_until_it_is_back() {
    let mut redis = RedisServer::start();
    let nova = kept_mesh(&redis.url());
    redis.kill();
    // Sooner than a call is told.
    eventually("every daemon misses its store", Duration::from_secs(8), || {
        let daemons = nova.run(&["--json", "status"]).stdout;
        let daemons: Value = serde_json::from_str(&daemons).expect("JSON");
        let words = |text: &str| text.contains("store: ") && text.contains("redis");
        let missing = |daemon: &&Value| daemon["missing"].as_str().is_some_and(words);
        // The node agent keeps nothing there.
        (daemons["daemons"].as_array()?.iter().filter(missing).count() == 4).then_some(())
    });
    for command in [["queue", "ls"], ["workflow", "ls"]] {
        let ran = nova.run(&command);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("reason: UNAVAILABLE"), "{}", ran.stderr);
        assert!(ran.stderr.contains("redis"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nova: this waits: "), "{}", ran.stderr);
    }
    redis.restart();
    eventually("all is well again", LONG, || (nova.run(&["status"]).code == 0).then_some(()));
    nova.run(&["queue", "ls"]).ok();
}

#[test]
fn a_run_survives_the_death_of_redis() {
    survives_redis_away_for(Duration::ZERO);
}

#[test]
fn a_run_survives_a_redis_that_is_down_for_seconds() {
    survives_redis_away_for(Duration::from_secs(5));
}

/// Kills a Redis that syncs each write, at some point of a run, and starts it again.
fn survives_redis_away_for(outage: Duration) {
    let mut redis = RedisServer::start();
    let nova = kept_mesh(&redis.url());
    let run = begin(&nova);
    at_some_point(&nova, "redis");
    redis.kill();
    outlast(outage);
    redis.restart();
    ends_well(&nova, run);
}
