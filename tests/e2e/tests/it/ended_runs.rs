//! A run that has ended has no more effects, however it ended: nobody does what is left of it.

use std::fs;
use std::time::Duration;

use nova_proto::lifecycle::v1::CancelRunRequest;
use nova_testkit::{Nova, eventually, send};
use serde_json::Value;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two steps for an agent that does one thing at a time; both go on until there is a gate, and then leave a mark.
const DOOMED: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: doomed}
spec:
  timeout: TIMEOUT
  agents:
    worker: {role: worker, capabilities: [doing], args: ["--concurrency", "1", "--lease-ms", "1000"]}
  phases:
    - name: work
      agents: [worker]
      steps:
        - {id: first, kind: shell, capability: doing, with: {run: 'SCRIPT'}, timeout: 5m}
        - {id: second, kind: shell, capability: doing, with: {run: 'SCRIPT'}, timeout: 5m}
"#;

/// Another run's step for the same agent.
const NEXT: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: next}
spec:
  agents:
    worker: {role: worker, capabilities: [doing], args: ["--concurrency", "1", "--lease-ms", "1000"]}
  phases:
    - name: work
      agents: [worker]
      steps:
        - {id: own, kind: shell, capability: doing, with: {run: 'true'}}
"#;

pub(crate) fn nobody_does_what_a_run_without_time_left(store: &str) {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    let ran = nova.run(&["orchestrate", &doomed(&nova, "2s")]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the run had no time left"), "{}", ran.stdout);
    has_no_more_effects(&nova);
}

pub(crate) fn a_run_is_cancelled_and_nobody_does_what_it_left(store: &str) {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    let run = begin(&nova);
    let (short, unknown) = (&run[..8], "ffffffff");
    assert_eq!(nova.run(&["workflow", "cancel", unknown]).code, 5);
    assert_eq!(nova.run(&["workflow", "cancel", short]).ok(), "cancelled\n");
    assert_eq!(nova.run(&["--json", "workflow", "report", short]).json()["run_id"], run.as_str());
    let shown = nova.run(&["--json", "workflow", "show", &run]).json();
    assert_eq!(shown["state"], "cancelled");
    assert!(steps(&shown).all(|step| step["state"] == "cancelled"), "{shown}");
    assert!(
        shown["message"].as_str().is_some_and(|why| why.starts_with("the run was cancelled by spiffe://"))
    );
    has_no_more_effects(&nova);
    let again = nova.run(&["workflow", "cancel", &run]);
    assert!(again.stderr.contains("the run had ended before"), "{}", again.stderr);
    assert_eq!(again.ok(), "cancelled\n");
    assert_eq!(nova.run(&["workflow", "watch", &run]).code, 1, "it did not succeed");
}

pub(crate) fn a_run_that_was_cancelled_ends_though_lifecycle_is_killed(store: &str) {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    let run = begin(&nova);
    let lifecycle = nova.pid_of("lifecycle");
    let request = CancelRunRequest { run_id: run.clone(), ..Default::default() };
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    tokio.block_on(async { nova.mesh().workflows().cancel_run(request).await }).expect("it is kept");
    send("KILL", lifecycle);
    eventually("the run is cancelled", PATIENCE, || {
        let shown = nova.run(&["--json", "workflow", "show", &run]);
        (shown.code == 0 && shown.json()["state"] == "cancelled").then_some(())
    });
    has_no_more_effects(&nova);
}

/// Begins a run without a limit of time, and waits until an agent works for it.
fn begin(nova: &Nova) -> String {
    let run = nova.run(&["orchestrate", &doomed(nova, "1h"), "--detach"]).ok().trim().to_owned();
    eventually("a step runs", PATIENCE, || {
        let shown = nova.run(&["--json", "workflow", "show", &run]).json();
        steps(&shown).any(|step| step["state"] == "running").then_some(())
    });
    run
}

/// Opens the gate once the agents have ended, and lets another run's agent look for work.
fn has_no_more_effects(nova: &Nova) {
    let tasks = nova.run(&["--json", "queue", "tasks", "--queue", "agents.can.doing"]).json();
    let open = |task: &&Value| !matches!(task["state"].as_str(), Some("cancelled"));
    let left: Vec<_> = tasks.as_array().expect("a list of tasks").iter().filter(open).collect();
    assert!(left.is_empty(), "tasks that have not ended: {left:?}");
    eventually("the agents have ended", PATIENCE, || {
        let processes = nova.run(&["--json", "node", "ps"]).json();
        let mut processes = processes.as_array()?.iter();
        processes.all(|process| !process["end_time"].is_null()).then_some(())
    });
    fs::write(gate(nova), "").expect("a writable folder");
    nova.run(&["orchestrate", &plan(nova, "next.yaml", NEXT)]).ok();
    let marks: Vec<_> = fs::read_dir(nova.folder())
        .expect("a folder")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("mark."))
        .collect();
    assert!(marks.is_empty(), "steps of a run that had ended were done: {marks:?}");
}

fn gate(nova: &Nova) -> std::path::PathBuf {
    nova.folder().join("gate")
}

fn doomed(nova: &Nova, timeout: &str) -> String {
    let (gate, mark) = (gate(nova), nova.folder().join("mark"));
    let script = format!(
        r#"until [ -e "{}" ]; do sleep 0.1; done; touch "{}.$NOVA_STEP""#,
        gate.display(),
        mark.display()
    );
    plan(nova, "doomed.yaml", &DOOMED.replace("TIMEOUT", timeout).replace("SCRIPT", &script))
}

fn plan(nova: &Nova, name: &str, text: &str) -> String {
    let path = nova.folder().join(name);
    fs::write(&path, text).expect("a writable folder");
    path.display().to_string()
}

fn steps(run: &Value) -> impl Iterator<Item = &Value> {
    let phases = run["phases"].as_array().into_iter().flatten();
    phases.flat_map(|phase| phase["steps"].as_array().into_iter().flatten())
}
