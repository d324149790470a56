//! What lies in a namespace is seen in it alone, whether an option or the environment names it.

use nova_testkit::{Nova, Ran};
use serde_json::Value;

use crate::restart::orchestrate_tiny;

/// How many records a list has.
#[track_caller]
fn count(list: Ran) -> Option<usize> {
    list.json().as_array().map(Vec::len)
}

#[test]
fn a_memory_is_in_the_namespace_that_the_environment_names() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let within = |args: &[&str]| {
        let mut command = nova.command(&[&["--json", "memory"], args].concat());
        Ran::of(&command.env("NOVA_NAMESPACE", "team-b").output().expect("nova starts"))
    };
    let memory = within(&["put", "hello", "--kind", "semantic"]).json();
    assert_eq!(memory["namespace"], "team-b");
    let id = memory["id"].as_str().expect("an id");
    assert_eq!(
        (count(within(&["search"])), count(nova.run(&["--json", "memory", "search"]))),
        (Some(1), Some(0))
    );
    assert_eq!(nova.run(&["memory", "get", id]).code, 5);
    assert_eq!(nova.run(&["--json", "memory", "get", id, "--namespace", "team-b"]).json(), memory);
}

#[test]
fn agents_and_their_identities_are_in_the_namespace_that_they_work_in() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    orchestrate_tiny(&nova, &[]);
    for kind in ["agents", "identity"] {
        let listed = |namespace| count(nova.run(&["--json", kind, "ls", "--namespace", namespace]));
        assert_eq!((listed("default"), listed("team-b")), (Some(1), Some(0)), "{kind}");
        assert_eq!(nova.run(&[kind, "show", "worker", "--namespace", "team-b"]).code, 5, "{kind}");
        let shown: Value = nova.run(&["--json", kind, "show", "worker"]).json();
        assert!(shown["spiffe_id"].is_string(), "{shown}");
    }
}

#[test]
fn a_run_works_in_the_namespace_that_it_is_started_in() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let summary = orchestrate_tiny(&nova, &["--namespace", "team-b"]);
    assert!(summary.contains("succeeded") && summary.contains("--namespace team-b"), "{summary}");
    orchestrate_tiny(&nova, &[]);
    for namespace in ["team-b", "default"] {
        let within = |args: &[&str]| nova.run(&[args, &["--namespace", namespace]].concat());
        let runs = within(&["--json", "workflow", "ls"]).json();
        assert_eq!(
            (runs.as_array().map(Vec::len), &runs[0]["state"]),
            (Some(1), &"succeeded".into()),
            "{runs}"
        );
        let run = runs[0]["id"].as_str().expect("an id");
        let shown = within(&["workflow", "show", run, "--report"]).ok();
        assert!(shown.contains("worker"), "{shown}");
        assert_eq!(count(within(&["--json", "agents", "ls"])), Some(1));
        assert_eq!(count(within(&["--json", "memory", "search"])), Some(1), "its agent remembers there");
    }
    assert_eq!(count(nova.run(&["--json", "workflow", "ls", "--namespace", "team-c"])), Some(0));
}
