//! `kill -9` of any part, at some point of a run: the run ends as it should, every step took effect once.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nova_testkit::{Nova, eventually};
use serde_json::Value;

use crate::run::{blueprint, repository_input};

/// Longest that a disturbed run may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_run_survives_the_death_of_the_queue() {
    survives("queue", &[]);
}

#[test]
fn a_run_survives_the_death_of_lifecycle() {
    survives("lifecycle", &[]);
}

#[test]
fn a_run_survives_the_death_of_policy() {
    survives("policy", &[]);
}

#[test]
fn a_run_survives_the_death_of_identity() {
    survives("identity", &[]);
}

#[test]
fn a_run_survives_the_death_of_the_node_agent() {
    survives("node", &[]);
}

#[test]
fn a_run_survives_the_death_of_an_agent() {
    let nova = kept_mesh(&[]);
    let run = start(&nova);
    let supervisor = nova.mesh_file().unwrap()["pid"].as_u64().unwrap();
    let agent = eventually("an agent works", Duration::from_secs(60), || agent_of(supervisor));
    kill(agent);
    ends_well(&nova, run);
}

#[test]
fn a_run_on_a_kept_mesh_goes_on_when_nova_is_killed() {
    let nova = kept_mesh(&[]);
    let mut run = start(&nova);
    let id = eventually("the run began", Duration::from_secs(60), || {
        latest(&nova)?["id"].as_str().map(str::to_owned)
    });
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("the run succeeded", PATIENCE, || (latest(&nova)?["state"] == "succeeded").then_some(()));
    each_step_took_effect_once(&nova, &id);
}

/// Kills a daemon at a random point of a run, on a mesh that `up` brings up.
pub(crate) fn survives(daemon: &str, up: &[&str]) {
    let moment = random_moment();
    eprintln!("{daemon} is killed {moment:?} after the run began");
    let nova = kept_mesh(up);
    let pid = nova.pid_of(daemon);
    let run = start(&nova);
    eventually("the run began", Duration::from_secs(60), || latest(&nova));
    let began = Instant::now();
    eventually("its moment has come", PATIENCE, || (began.elapsed() > moment).then_some(()));
    kill(u64::from(pid));
    ends_well(&nova, run);
    assert_ne!(nova.pid_of(daemon), pid, "{daemon} was started again");
}

/// Within the time that a run takes when nothing disturbs it.
fn random_moment() -> Duration {
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(random % 2_500)
}

fn kept_mesh(up: &[&str]) -> Nova {
    let nova = Nova::new();
    let mut args = vec!["up"];
    args.extend(up);
    nova.run(&args).ok();
    nova
}

fn start(nova: &Nova) -> Child {
    nova.spawn(&["orchestrate", &blueprint(), "--input", &repository_input(nova)])
}

fn ends_well(nova: &Nova, mut run: Child) {
    let code = eventually("the run ended", PATIENCE, || run.try_wait().expect("it is our child"));
    if !code.success() {
        let output = run.wait_with_output().expect("it has ended");
        panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    let id = latest(nova).and_then(|run| run["id"].as_str().map(str::to_owned)).expect("the run is listed");
    each_step_took_effect_once(nova, &id);
}

/// Each step settled once, and wrote each of its findings once.
fn each_step_took_effect_once(nova: &Nova, run: &str) {
    let shown = nova.run(&["--json", "workflow", "show", run]).json();
    assert_eq!(shown["state"], "succeeded", "{shown}");
    let label = format!("run={run}");
    let found = nova.run(&["--json", "memory", "search", "", "--label", &label, "--limit", "1000"]).json();
    let hits = found.as_array().expect("a list of memories");
    let mut steps: Vec<_> = hits.iter().map(step_of).collect();
    let all = steps.len();
    assert!(all > 10, "the steps wrote what they found: {all}");
    steps.sort();
    steps.dedup();
    assert_eq!(steps.len(), all, "a finding was written twice");
}

fn step_of(hit: &Value) -> (String, String) {
    let memory = if hit["memory"].is_object() { &hit["memory"] } else { hit };
    (memory["labels"]["step"].to_string(), memory["text"].to_string())
}

fn latest(nova: &Nova) -> Option<Value> {
    nova.run(&["--json", "workflow", "ls"]).json().as_array()?.first().cloned()
}

/// A process of the session that runs `nova agent`.
fn agent_of(supervisor: u64) -> Option<u64> {
    Nova::session(supervisor).into_iter().find(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).nth(1) == Some(b"agent")
    })
}

fn kill(pid: u64) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill is there");
    assert!(status.success());
}
