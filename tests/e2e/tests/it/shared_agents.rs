//! Agents belong to the mesh, not to a run: runs that share them do not get in each other's way.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use nova_testkit::{Nova, eventually};
use serde_json::Value;

use crate::run::{blueprint, repository_input};

/// Longest that two runs at once may take.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn two_runs_at_once_that_share_agents_both_end_well() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let input = repository_input(&nova);
    let start = || nova.spawn(&["orchestrate", &blueprint(), "--input", &input]);
    let runs = [start(), start()];
    runs.into_iter().for_each(ends_well);
}

/// Steps of one attempt that go on until there is a gate, for an agent of the plan's name that does `AT_ONCE` things at once.
const PLAN: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: NAME}
spec:
  agents:
    NAME: {role: worker, capabilities: [waiting], args: ["--concurrency", "AT_ONCE"]}
  phases:
    - name: work
      agents: [NAME]
      steps:
"#;

const STEP: &str = r#"
        - id: ID
          kind: shell
          capability: waiting
          with: {run: 'until [ -e "GATE" ]; do sleep 0.1; done'}
          timeout: 5m
          retry: {max_attempts: 1}
"#;

#[test]
fn the_end_of_a_run_burns_no_attempt_of_another() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let lender = begin(&nova, "lender", 4, &["own"]);
    runs(&nova, &lender, |step| step["state"] == "running");
    // The borrower's agent does one of its steps at most, the lender's does the rest.
    let borrower = begin(&nova, "borrower", 1, &["one", "two"]);
    runs(&nova, &borrower, |step| step["agent_id"] == "lender");
    fs::write(gate(&nova, "lender"), "").expect("a writable folder");
    nova.run(&["workflow", "watch", &lender]).ok();
    fs::write(gate(&nova, "borrower"), "").expect("a writable folder");
    nova.run(&["workflow", "watch", &borrower]).ok();
}

/// Begins a run of [`PLAN`] with these steps, and gives its id.
fn begin(nova: &Nova, name: &str, at_once: usize, steps: &[&str]) -> String {
    let gate = gate(nova, name).display().to_string();
    let steps: String = steps.iter().map(|id| STEP.replace("ID", id).replace("GATE", &gate)).collect();
    let plan = PLAN.replace("NAME", name).replace("AT_ONCE", &at_once.to_string()) + &steps;
    let path = nova.folder().join(name).with_extension("yaml");
    fs::write(&path, plan).expect("a writable folder");
    let path = path.to_str().expect("UTF-8");
    nova.run(&["orchestrate", path, "--detach"]).ok().trim().to_owned()
}

fn gate(nova: &Nova, name: &str) -> PathBuf {
    nova.folder().join(name).with_extension("gate")
}

/// Waits until some step of a run is so.
fn runs(nova: &Nova, run: &str, is_so: impl Fn(&Value) -> bool) {
    eventually("a step is so", PATIENCE, || {
        let shown = nova.run(&["--json", "workflow", "show", run]).json();
        shown["phases"][0]["steps"].as_array()?.iter().any(&is_so).then_some(())
    });
}

#[track_caller]
fn ends_well(mut run: Child) {
    let code = eventually("the run ended", PATIENCE, || run.try_wait().expect("it is our child"));
    let output = run.wait_with_output().expect("it has ended");
    let texts = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(code.success(), "{}\n{}", texts.0, texts.1);
}
