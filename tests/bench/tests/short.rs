//! The bench in its short form: the real command on real meshes, and on each peer that is installed, every part as small
//! as it goes.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not there")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const PEERS: [&str; 4] = ["bullmq", "beanstalkd", "celery", "asynq"];

const STORES: [&str; 2] = ["nova-sqlite", "nova-redis"];

/// Scenarios in which whole tasks are lived, and what each of them tells.
const LOADS: [&str; 6] = ["unary-128", "unary-256", "batched-64", "half-load", "traced", "traced-sdk"];
const OF_A_LOAD: [&str; 8] = [
    "enqueued",
    "completed",
    "enqueue_p50",
    "enqueue_p99",
    "server_cpu_per_task",
    "client_cpu_per_task",
    "server_memory",
    "client_memory",
];

/// What only some scenarios tell.
const FURTHER: [(&str, &str); 24] = [
    ("traced-sdk", "lives_per_second"),
    ("traced", "lives_per_second"),
    ("unary-128", "lives_per_second"),
    ("unary-256", "lives_per_second"),
    ("batched-64", "lives_per_second"),
    ("half-load", "enqueue_to_start_p50"),
    ("half-load", "enqueue_to_start_p99"),
    ("queue-add", "jobs_per_second"),
    ("queue-add-bulk", "jobs_per_second"),
    ("worker-generic", "jobs_per_second"),
    ("worker-concurrent", "jobs_per_second"),
    ("backlog", "cost_at_100"),
    ("backlog", "cost_at_1000"),
    ("backlog", "server_cpu_at_1000"),
    ("backlog", "cost_1000_over_100"),
    ("backlog", "server_memory_per_task_at_1000"),
    ("overload", "refused"),
    ("overload", "worked_per_second"),
    ("overload", "memory_growth"),
    ("purge", "purged_per_second"),
    ("purge", "enqueue_p99_meanwhile"),
    ("purge", "enqueue_to_start_p99_meanwhile"),
    ("backlog", "enqueue_to_start_p99_at_1000"),
    ("backlog", "expiry_late_at_1000"),
];

type Figures = BTreeMap<(String, String, String), f64>;

#[test]
fn the_short_form_prints_every_figure_and_loses_no_task() {
    let (figures, said) = run();
    let missing: Vec<_> = expected().into_iter().filter(|key| !figures.contains_key(key)).collect();
    assert!(missing.is_empty(), "{missing:#?} of {figures:#?}");
    for (store, load) in STORES.iter().flat_map(|store| LOADS.map(|load| (*store, load))) {
        let count = |metric: &str| figures[&key(load, store, metric)];
        assert!(count("enqueued") >= 1.0, "{store} {load}");
        assert!(same(count("enqueued"), count("completed")), "{store} {load}");
    }
    for store in STORES {
        let count = |metric: &str| figures[&key("traced", &format!("{store}-traced"), metric)];
        assert!(count("spans_arrived") >= count("enqueued"), "{store}");
        assert!(same(count("spans_lost"), 0.0), "{store}");
        assert!(count("spans_arrived") >= count("spans_recorded"), "{store}");
        let of_worker = |which: &str| figures[&key("traced-sdk", &format!("{store}-traced"), which)];
        assert!(of_worker("worker_spans_arrived") >= 3.0 * of_worker("completed"), "{store}");
        assert!(same(of_worker("worker_spans_lost"), 0.0), "{store}");
        let unencrypted = figures[&key("unary-128", &format!("{store}-plaintext"), "lives_per_second")];
        assert!(unencrypted > 0.0, "{store}");
        assert!(figures[&key("overload", store, "refused")] >= 1.0, "{store}: a flood is refused");
    }
    for peer in PEERS {
        assert_measured_or_skipped(peer, &figures, &said);
    }
}

fn assert_measured_or_skipped(peer: &str, figures: &Figures, said: &str) {
    let lives = figures.get(&key("unary-128", peer, "lives_per_second"));
    match said.lines().find_map(|line| line.split_once(&format!("skipped: {peer}: "))) {
        Some((_, why)) => eprintln!("SKIPPED the short form of the bench on {peer}: {why}"),
        None => assert!(lives.is_some_and(|lives| *lives > 0.0), "{peer}: {said}"),
    }
}

fn expected() -> BTreeSet<(String, String, String)> {
    let loads = LOADS.iter().flat_map(|load| OF_A_LOAD.map(|metric| (*load, metric)));
    let of_a_store: Vec<_> = loads.chain(FURTHER).collect();
    let stores =
        STORES.iter().flat_map(|store| of_a_store.iter().map(|(load, metric)| key(load, store, metric)));
    stores.chain(["ready", "memory"].map(|metric| key("mesh", STORES[0], metric))).collect()
}

fn key(scenario: &str, system: &str, metric: &str) -> (String, String, String) {
    (scenario.to_owned(), system.to_owned(), metric.to_owned())
}

fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.5
}

/// Runs the bench beside this test; every line that it prints is a figure, and beside them it says what it skips.
fn run() -> (Figures, String) {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_nova-bench"));
    let output = bench.args(["--short", "--json", "--plaintext", "--peers"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (String::from_utf8(output.stdout).unwrap().lines().map(figure).collect(), said)
}

/// `{"scenario","system","metric","value","unit"}`, and nothing else.
fn figure(line: &str) -> ((String, String, String), f64) {
    let figure: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    let fields = figure.as_object().unwrap();
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["metric", "scenario", "system", "unit", "value"], "{line}");
    let text = |field: &str| figure[field].as_str().unwrap();
    assert!(!text("unit").is_empty(), "{line}");
    (key(text("scenario"), text("system"), text("metric")), figure["value"].as_f64().unwrap())
}
