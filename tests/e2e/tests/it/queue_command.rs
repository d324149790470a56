//! `nova queue`, as an operator uses it.

use nova_testkit::Nova;
use serde_json::Value;

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
    nova.run(&["queue", "enqueue", "mail", "send"]).ok();
    assert!(nova.run(&["queue", "enqueue", "mail", "send"]).stderr.contains("max_tasks"));
    assert_eq!(json(&nova, &["queue", "redrive", "--queue", "mail"])["redriven"], 0);
    nova.run(&["down"]).ok();
    assert_eq!(json(&nova, &["queue", "stats", "mail"])["ready"], 1, "it stays readable");
}
