//! `nova queue schedules`.

use nova_testkit::eventually;
use serde_json::{Value, json as value};

use crate::queue_command::{PATIENCE, json, mesh, refused};

pub(crate) fn an_operator_keeps_schedules(store: &str) {
    let nova = mesh(store);
    let put = ["schedules", "put", "digest", "*/1 * * * * *", "mail", "digest", "--metadata", "team=post"];
    assert_eq!(json(&nova, &put)["queue"], "mail");
    let tasks = || json(&nova, &["tasks", "--kind", "digest"]).as_array().cloned().unwrap_or_default();
    let task = eventually("a tick fires", PATIENCE, || tasks().pop());
    assert_eq!(task["metadata"]["team"], "post");
    assert_eq!(json(&nova, &["schedules", "pause", "digest"])["paused"], true);
    assert_eq!(json(&nova, &put)["paused"], true, "whoever stores it again does not end the pause");
    let resumed = json(&nova, &["schedules", "resume", "digest"]);
    assert_eq!((&resumed["paused"], &resumed["metadata"]["team"]), (&value!(false), &value!("post")));
    let listed = json(&nova, &["schedules", "ls"]);
    assert_eq!((&listed[0]["name"], &listed[0]["time_zone"]), (&"digest".into(), &"UTC".into()));
    assert_eq!(nova.run(&["queue", "schedules", "delete", "digest"]).ok(), "1 deleted\n");
    assert_eq!(json(&nova, &["schedules", "ls"]), Value::Array(Vec::new()));
    for verb in ["show", "pause", "resume", "delete"] {
        refused(&nova, &["schedules", verb, "digest"], 5, "there is no schedule digest");
    }
    refused(&nova, &["schedules", "put", "x", "61 * * * *", "mail", "digest"], 2, "nova: cron: ");
}

pub(crate) fn a_schedule_keeps_all_that_is_said_of_its_tasks(store: &str) {
    let nova = mesh(store);
    let put = ["schedules", "put", "digest", "0 7 1 1 *", "mail", "digest", "--time-zone", "Europe/Berlin"];
    let what =
        ["--payload", "{\"to\":\"ada\"}", "--metadata", "team=post", "--priority", "7", "--group", "gold"];
    let bounds =
        ["--deadline", "1h", "--attempt-timeout", "5m", "--unique-key", "digest", "--unique-for", "2h"];
    let tries = ["--max-attempts", "5", "--backoff", "2s", "--backoff-factor", "1.5", "--backoff-max", "1m"];
    nova.run(&[&["queue"], &put[..], &what[..], &bounds[..], &tries[..]].concat()).ok();
    let shown = json(&nova, &["schedules", "show", "digest"]);
    let retry = value!({
        "max_attempts": 5, "initial_backoff_seconds": 2.0, "factor": 1.5, "max_backoff_seconds": 60.0,
    });
    let expected = value!({
        "queue": "mail", "kind": "digest", "payload": {"to": "ada"}, "metadata": {"team": "post"}, "priority": 7,
        "group": "gold", "deadline_seconds": 3_600.0, "attempt_timeout_seconds": 300.0, "unique_key": "digest",
        "unique_for_seconds": 7_200.0, "retry": retry,
    });
    for (field, value) in expected.as_object().expect("it is one") {
        assert_eq!(&shown[field], value, "{field}");
    }
    let text = nova.run(&["queue", "schedules", "show", "digest"]).ok();
    assert!(text.contains("5, the next one after 2s, then 1.5 times as long, at most 1m"), "{text}");
    for args in [["ls"].as_slice(), &["show", "digest"]] {
        let text = nova.run(&[&["queue", "schedules"], args].concat()).ok();
        assert!(text.contains("-01-01 07:00:00 CET (in "), "{text}");
    }
}
