//! `nova queue`, as an operator uses it: queues as a whole, and the namespaces that they are in.

use std::time::Duration;

use nova_testkit::{Nova, Ran};
use serde_json::Value;

/// Longest that a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A mesh that keeps its state in `store`.
pub(crate) fn mesh(store: &str) -> Nova {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    nova
}

/// What `nova queue …` prints with `--json`.
#[track_caller]
pub(crate) fn json(nova: &Nova, args: &[&str]) -> Value {
    nova.run(&[&["queue"], args, &["--json"]].concat()).json()
}

/// Puts a task into a queue, and gives its id.
#[track_caller]
pub(crate) fn enqueue(nova: &Nova, args: &[&str]) -> String {
    let receipt = json(nova, &[&["enqueue"], args].concat());
    receipt["id"].as_str().expect("a receipt has an id").to_owned()
}

/// Asserts that `nova queue …` ends with this exit code, and says this.
#[track_caller]
pub(crate) fn refused(nova: &Nova, args: &[&str], code: i32, told: &str) {
    let Ran { code: found, stderr, .. } = nova.run(&[&["queue"], args].concat());
    assert!(found == code && stderr.contains(told), "{args:?} ended with {found}: {stderr}");
}

pub(crate) fn an_operator_runs_a_queue(store: &str) {
    let nova = mesh(store);
    for kind in ["send", "send", "digest"] {
        enqueue(&nova, &["mail", kind]);
    }
    assert_eq!(json(&nova, &["pause", "mail"])["state"], "paused");
    assert_eq!(json(&nova, &["stats", "mail"])["ready"], 3);
    assert_eq!(json(&nova, &["cancel", "--queue", "mail", "--kind", "send"])["cancelled"], 2);
    let left = json(&nova, &["tasks", "--queue", "mail", "--kind", "digest"]);
    assert_eq!(json(&nova, &["purge", left[0]["id"].as_str().expect("one is left")])["purged"], 1);
    let cancelled = ["purge", "--queue", "mail", "--state", "cancelled"];
    assert_eq!(json(&nova, &[&cancelled[..], &["--older-than", "1h"]].concat())["purged"], 0);
    assert_eq!(json(&nova, &[&cancelled[..], &["--newer-than", "1h"]].concat())["purged"], 2);
    assert_eq!(json(&nova, &["drain", "mail"])["state"], "closed", "it is still paused");
    refused(&nova, &["enqueue", "mail", "send"], 1, "QUEUE_DRAINING");
    nova.run(&["queue", "resume", "mail"]).ok();
    enqueue(&nova, &["mail", "send"]);
    enqueue(&nova, &["brief", "send"]);
    refused(&nova, &["rm", "brief"], 1, "QUEUE_NOT_EMPTY");
    assert_eq!(json(&nova, &["rm", "brief", "--force"])["deleted"], 1);
    refused(&nova, &["rm", "brief"], 5, "there is no queue \"brief\"");
    nova.run(&["down"]).ok();
    assert_eq!(json(&nova, &["stats", "mail"])["ready"], 1, "it stays readable");
    assert_eq!(json(&nova, &["config", "mail"])["settings"]["max_tasks"], 0, "and so do its settings");
}

pub(crate) fn settings_are_shown_with_what_they_come_to(store: &str) {
    let nova = mesh(store);
    refused(&nova, &["config", "mail"], 5, "there is no queue \"mail\"");
    let limits = ["--max-running", "8", "--rate", "100/1s", "--burst", "200", "--group-rate", "5/1m"];
    let more = ["--weight", "gold=5", "--max-tasks", "1", "--keep-for", "7d", "--strict-priority", "true"];
    let set = json(&nova, &[&["config", "mail"], &limits[..], &more[..]].concat());
    assert_eq!(set["settings"]["rate"]["burst"], 200);
    assert_eq!(set["ready"], Value::Null, "counts belong to stats");
    let shown = nova.run(&["queue", "config", "mail"]).ok();
    for told in ["100 each 1s, 200 at once", "5 each 1m, 5 at once", "gold=5, 1 for each other", "7d"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let stats = nova.run(&["queue", "stats", "mail"]).ok();
    for told in ["8 at once\n", "100 each 1s, 200 at once\n", "5 each 1m, 5 at once of each group"] {
        assert!(stats.contains(told), "{told}: {stats}");
    }
    enqueue(&nova, &["mail", "send"]);
    refused(&nova, &["enqueue", "mail", "send"], 1, "max_tasks");
    refused(&nova, &["config", "mail", "--keep-for", "4000d"], 2, "keep for: 4000d must be ");
    let lifted = ["--max-running", "none", "--rate", "none", "--group-rate", "none", "--weight", "default"];
    let more = ["--max-tasks", "default", "--keep-for", "default", "--strict-priority", "false"];
    let lifted = nova.run(&[&["queue", "config", "mail"], &lifted[..], &more[..]].concat()).ok();
    let fresh = nova.run(&["queue", "config", "fresh", "--max-running", "none"]).ok();
    assert_eq!(lifted.replace("mail", "fresh"), fresh);
    assert_eq!(fresh.matches("no limit").count(), 5, "{fresh}");
    assert!(!nova.run(&["queue", "stats", "mail"]).ok().contains("no limit"), "settings belong to config");
}

pub(crate) fn what_is_not_there_is_not_found(store: &str) {
    let nova = mesh(store);
    for verb in ["pause", "drain", "resume", "stats", "config"] {
        refused(&nova, &[verb, "mial"], 5, "there is no queue \"mial\"");
    }
    for verb in ["cancel", "redrive", "purge"] {
        let state: &[&str] = if verb == "purge" { &["--state", "dead"] } else { &[] };
        refused(&nova, &[&[verb, "--queue", "mial"], state].concat(), 5, "there is no queue \"mial\"");
    }
    refused(&nova, &["stats", "mial", "--json"], 5, r#""reason":"NOT_FOUND""#);
    assert_eq!(json(&nova, &["ls"]), Value::Array(Vec::new()), "nothing was made");
    let task = enqueue(&nova, &["mail", "send"]);
    assert_eq!(json(&nova, &["cancel", "--queue", "mail", "--kind", "digest"])["cancelled"], 0);
    let unknown = "01999999-9999-7999-8999-999999999999";
    for verb in ["redrive", "purge", "cancel"] {
        refused(&nova, &[verb, unknown], 5, &format!("there is no task {unknown}"));
    }
    refused(&nova, &["cancel", unknown, &task], 5, &format!("there is no task {unknown}"));
    assert_eq!(json(&nova, &["show", &task])["state"], "cancelled", "what is there was cancelled");
    refused(&nova, &["cancel", &task], 0, "had ended before: it is cancelled");
    refused(&nova, &["redrive", &task], 1, "is not dead: it is cancelled");
}

pub(crate) fn namespaces_are_apart(store: &str) {
    let nova = mesh(store);
    let within = |args: &[&str]| json(&nova, &[args, &["--namespace", "team-a"]].concat());
    let task = within(&["enqueue", "mail", "send"])["id"].as_str().expect("an id").to_owned();
    within(&["config", "mail", "--max-running", "3"]);
    within(&["schedules", "put", "yearly", "0 0 1 1 *", "mail", "digest"]);
    for args in [["ls"].as_slice(), &["tasks"], &["schedules", "ls"]] {
        assert_eq!(json(&nova, args), Value::Array(Vec::new()), "{args:?}");
        assert_eq!(within(args).as_array().map(Vec::len), Some(1), "{args:?}");
    }
    for args in [["show", &task], ["cancel", &task], ["stats", "mail"], ["config", "mail"], ["pause", "mail"]]
    {
        refused(&nova, &args, 5, "there is no ");
    }
    assert_eq!(within(&["show", &task])["namespace"], "team-a");
    assert_eq!(within(&["pause", "mail"])["state"], "paused");
    assert_eq!(within(&["config", "mail"])["settings"]["max_running"], 3);
    assert_eq!(within(&["workers"]), Value::Array(Vec::new()));
    refused(&nova, &["ls", "--namespace", "Team A"], 2, "namespace: ");
    let from_outside = nova.command(&["queue", "cancel", &task]).env("NOVA_NAMESPACE", "team-a").output();
    assert_eq!(Ran::of(&from_outside.expect("nova starts")).ok().trim(), "1 cancelled");
    assert_eq!(within(&["schedules", "delete", "yearly"])["deleted"], 1);
}

#[test]
fn reading_leaves_no_home_where_there_was_none() {
    let nova = Nova::new();
    assert_eq!(json(&nova, &["ls"]), Value::Array(Vec::new()));
    assert!(!nova.home().exists());
}

#[test]
fn an_error_is_json_where_json_is_asked_for() {
    let nova = Nova::new();
    let told = |args: &[&str], code: i32| -> Value {
        let ran = nova.run(&[&["--json"], args].concat());
        assert_eq!(ran.code, code, "{}", ran.stderr);
        serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr))
    };
    let error = told(&["queue", "enqueue", "mail", "send"], 3);
    assert_eq!(
        (error["error"]["reason"].as_str(), error["error"]["exit_code"].as_i64()),
        (Some(""), Some(3))
    );
    nova.run(&["up"]).ok();
    let error = told(&["queue", "enqueue", "no queue", "send"], 2);
    assert_eq!(error["error"]["reason"], "INVALID_ARGUMENT");
    assert_eq!(error["error"]["violations"][0]["field"], "tasks[0].queue");
}
