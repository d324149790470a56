//! `nova queue enqueue --file`: many tasks from lines of JSON.

use std::fs::{self, File};

use nova_testkit::{Nova, Ran};
use serde_json::{Value, json as value};

use crate::queue_command::{json, mesh, refused};

/// Writes a file of tasks, and gives its path.
fn file(nova: &Nova, text: &str) -> String {
    let path = nova.folder().join("tasks.jsonl");
    fs::write(&path, text).expect("a file can be written");
    path.to_str().expect("its path is text").to_owned()
}

#[test]
fn a_file_of_tasks_is_stored_in_order_and_may_be_given_again() {
    let nova = mesh("sqlite");
    // More than one call takes; the last waits for the first, which is stored long before.
    let mut lines: Vec<Value> = (0..1_500)
        .map(|number| value!({"queue": "mail", "kind": "send", "payload": number, "request_id": format!("r-{number}")}))
        .collect();
    lines[1_499]["after_index"] = value!([0, 1_498]);
    let text: String = lines.iter().map(|line| format!("{line}\n\n")).collect();
    let path = file(&nova, &text);
    let stored = nova.run(&["queue", "enqueue", "--file", &path]);
    assert_eq!(stored.stderr, "nova: 1500 tasks are stored\n");
    let ids: Vec<String> = stored.ok().lines().map(str::to_owned).collect();
    assert_eq!(json(&nova, &["show", &ids[1_234]])["payload"], 1_234);
    let last = json(&nova, &["show", &ids[1_499]]);
    assert_eq!((&last["after"], &last["blocked_by"]), (&value!([ids[0], ids[1_498]]), &value!(2)));

    let mut again = nova.command(&["queue", "enqueue", "--file", "-", "--json"]);
    let again = again.stdin(File::open(&path).expect("it was written")).output().expect("nova starts");
    let again = Ran::of(&again).ok();
    let receipts = again.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let known = receipts.map(|receipt| (receipt["id"].clone(), receipt["duplicate"].clone()));
    assert!(known.eq(ids.iter().map(|id| (value!(id), value!(true)))), "every task is the earlier one");
    assert_eq!(json(&nova, &["stats", "mail"])["ready"], 1_499);
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_its_line() {
    let nova = mesh("sqlite");
    let good = r#"{"queue":"mail","kind":"send"}"#;
    let told = |text: &str, told: &str| {
        refused(&nova, &["enqueue", "--file", &file(&nova, text)], 2, told);
    };
    told(&format!("{good}\n\n{{\"queue\":\"mail\"}}\n"), "nova: line 3: missing field `kind`");
    told(&format!("{good}\n{{\"queue\":\"mail\",\"kind\":\"a b\"}}\n"), "nova: line 2: kind: ");
    told(&format!("{good}\nno JSON"), "nova: line 2: ");
    assert_eq!(json(&nova, &["ls"]), value!([]), "a batch is stored as a whole or not at all");
    told(&format!("{}oops", format!("{good}\n").repeat(1_001)), "nova: 1000 tasks are stored");
    refused(&nova, &["enqueue", "--file", "/none"], 2, "cannot read /none");
    refused(&nova, &["enqueue", "mail", "send", "--file", "/none"], 2, "cannot be used with");
    refused(&nova, &["enqueue", "mail"], 2, "required");
}
