//! `nova queue`, as an operator uses it.

use std::time::Duration;

use nova_testkit::{Nova, eventually};
use serde_json::Value;

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command prints with `--json`.
fn json(nova: &Nova, args: &[&str]) -> Value {
    nova.run(&[args, &["--json"]].concat()).json()
}

#[test]
fn an_operator_runs_a_queue() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    for kind in ["send", "send", "digest"] {
        nova.run(&["queue", "enqueue", "mail", kind]).ok();
    }
    assert_eq!(json(&nova, &["queue", "pause", "mail"])["intake"], "paused");
    assert_eq!(json(&nova, &["queue", "stats", "mail"])["ready"], 3);
    assert_eq!(json(&nova, &["queue", "cancel", "--queue", "mail", "--kind", "send"])["cancelled"], 2);
    let left = json(&nova, &["queue", "tasks", "--queue", "mail", "--kind", "digest"]);
    let id = left[0]["id"].as_str().expect("one is left").to_owned();
    assert_eq!(json(&nova, &["queue", "purge", &id])["purged"], 1);
    assert_eq!(json(&nova, &["queue", "purge", "--queue", "mail", "--state", "cancelled"])["purged"], 2);
    assert_eq!(json(&nova, &["queue", "drain", "mail"])["intake"], "draining");
    let refused = nova.run(&["queue", "enqueue", "mail", "send"]);
    assert!(refused.code != 0 && refused.stderr.contains("QUEUE_DRAINING"), "{}", refused.stderr);
    nova.run(&["queue", "resume", "mail"]).ok();
    assert_eq!(json(&nova, &["queue", "config", "mail", "--max-tasks", "1"])["settings"]["max_tasks"], 1);
    let limited = json(&nova, &["queue", "config", "mail", "--rate", "100/1s", "--weight", "gold=5"]);
    assert_eq!(
        (&limited["settings"]["rate"]["count"], &limited["settings"]["max_tasks"]),
        (&100.into(), &1.into())
    );
    assert_eq!(limited["settings"]["group_weights"]["gold"], 5);
    let kept = nova.run(&["queue", "config", "mail", "--keep-for", "7d"]).ok();
    assert!(kept.contains("100 each 1s") && kept.contains("7d"), "{kept}");
    let too_long = nova.run(&["queue", "config", "mail", "--keep-for", "4000d"]);
    assert!(too_long.code == 2 && too_long.stderr.contains("keep for: must be "), "{}", too_long.stderr);
    let lifted = json(&nova, &["queue", "config", "mail", "--rate", "0"]);
    assert_eq!(lifted["settings"]["rate"], Value::Null);
    nova.run(&["queue", "enqueue", "mail", "send"]).ok();
    assert!(nova.run(&["queue", "enqueue", "mail", "send"]).stderr.contains("max_tasks"));
    assert_eq!(json(&nova, &["queue", "redrive", "--queue", "mail"])["redriven"], 0);
    nova.run(&["down"]).ok();
    assert_eq!(json(&nova, &["queue", "stats", "mail"])["ready"], 1, "it stays readable");
}

#[test]
fn a_queue_that_is_not_there_is_not_made_by_a_pause() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    for verb in ["pause", "drain", "resume"] {
        let refused = nova.run(&["queue", verb, "mial"]);
        assert!(
            refused.code == 5 && refused.stderr.contains("there is no queue \"mial\""),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(json(&nova, &["queue", "ls"]), Value::Array(Vec::new()));
}

#[test]
fn reading_leaves_no_home_where_there_was_none() {
    let nova = Nova::new();
    assert_eq!(json(&nova, &["queue", "ls"]), Value::Array(Vec::new()));
    assert!(!nova.home().exists());
}

#[test]
fn an_operator_keeps_schedules() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let put = ["queue", "schedules", "put", "digest", "*/1 * * * * *", "mail", "digest"];
    assert_eq!(json(&nova, &put)["queue"], "mail");
    let tasks = ["queue", "tasks", "--queue", "mail"];
    let fired = || json(&nova, &tasks).as_array().filter(|tasks| !tasks.is_empty()).map(Vec::len);
    eventually("a tick fires", PATIENCE, fired);
    let listed = json(&nova, &["queue", "schedules", "ls"]);
    assert_eq!((&listed[0]["name"], &listed[0]["time_zone"]), (&"digest".into(), &"UTC".into()));
    nova.run(&["queue", "schedules", "delete", "digest"]).ok();
    assert_eq!(json(&nova, &["queue", "schedules", "ls"]), Value::Array(Vec::new()));
    assert_eq!(json(&nova, &["queue", "workers"]), Value::Array(Vec::new()));
    let bad = nova.run(&["queue", "schedules", "put", "x", "61 * * * *", "mail", "digest"]);
    assert!(bad.code != 0 && bad.stderr.contains("cron"), "{}", bad.stderr);
    nova.run(&["down"]).ok();
}

#[test]
fn a_task_waits_for_another() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let first = json(&nova, &["queue", "enqueue", "mail", "send"])["id"].as_str().expect("an id").to_owned();
    let second = json(&nova, &["queue", "enqueue", "mail", "send", "--after", &first]);
    let second = second["id"].as_str().expect("an id").to_owned();
    assert_eq!(json(&nova, &["queue", "show", &second])["blocked_by"], 1);
    let shown = nova.run(&["queue", "show", &second]).ok();
    assert!(shown.contains("waits for   1 task that has not ended"), "{shown}");
    nova.run(&["queue", "cancel", &first]).ok();
    let gone = || (json(&nova, &["queue", "show", &second])["state"] == "cancelled").then_some(());
    eventually("its child goes with it", PATIENCE, gone);
    nova.run(&["down"]).ok();
}
