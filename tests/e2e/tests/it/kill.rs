//! `kill -9` of any part, at some point of a run: the run ends as it should, every step took effect once.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nova_testkit::{Nova, eventually};
use serde_json::Value;

use crate::run::{blueprint, repository_input};

/// Longest that a disturbed run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest that a run may take to begin.
const STARTUP: Duration = Duration::from_secs(60);

pub(crate) fn a_run_survives_the_death_of_the_queue(store: &str) {
    survives("queue", store);
}

pub(crate) fn a_run_survives_the_death_of_lifecycle(store: &str) {
    survives("lifecycle", store);
}

pub(crate) fn a_run_survives_the_death_of_policy(store: &str) {
    survives("policy", store);
}

pub(crate) fn a_run_survives_the_death_of_identity(store: &str) {
    survives("identity", store);
}

pub(crate) fn a_run_survives_the_death_of_the_node_agent(store: &str) {
    survives("node", store);
}

pub(crate) fn a_run_survives_the_death_of_an_agent(store: &str) {
    let nova = kept_mesh(store);
    let run = begin(&nova);
    let agent = eventually("an agent works", STARTUP, || agent_of(supervisor(&nova)?));
    kill(agent);
    ends_well(&nova, run);
}

pub(crate) fn a_run_on_a_kept_mesh_goes_on_when_nova_is_killed(store: &str) {
    let nova = kept_mesh(store);
    let run = begin(&nova);
    eventually("the run began", STARTUP, || latest(&nova));
    kill_command(run);
    succeeds(&nova);
}

pub(crate) fn a_mesh_for_one_run_is_gone_when_nova_is_killed_and_the_next_goes_on(store: &str) {
    let nova = Nova::new();
    let run = begin_with(&nova, &["--store", store]);
    let supervisor = eventually("an agent works", STARTUP, || {
        let supervisor = supervisor(&nova)?;
        agent_of(supervisor).and(Some(supervisor))
    });
    kill_command(run);
    eventually("every process is gone", STARTUP, || Nova::session(supervisor).is_empty().then_some(()));
    nova.run(&["up"]).ok();
    succeeds(&nova);
}

/// Kills a daemon at some moment of a run.
fn survives(daemon: &str, store: &str) {
    let nova = kept_mesh(store);
    let pid = nova.pid_of(daemon);
    let run = begin(&nova);
    at_some_moment(&nova, daemon);
    kill(u64::from(pid));
    ends_well(&nova, run);
    assert_ne!(nova.pid_of(daemon), pid, "{daemon} was started again");
}

/// Waits for a random moment of a run.
pub(crate) fn at_some_moment(nova: &Nova, victim: &str) {
    let moment = random_moment();
    eprintln!("{victim} is killed {moment:?} after the run began");
    eventually("the run began", STARTUP, || latest(nova));
    outlast(moment);
}

/// Waits until so much time has gone by.
pub(crate) fn outlast(time: Duration) {
    let began = Instant::now();
    eventually("its moment has come", PATIENCE, || (began.elapsed() > time).then_some(()));
}

/// Within the time that a run takes when nothing disturbs it.
fn random_moment() -> Duration {
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(random % 2_500)
}

/// A mesh that outlives its runs.
pub(crate) fn kept_mesh(store: &str) -> Nova {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    nova
}

/// Begins a run of the blueprint on the mesh that is there.
pub(crate) fn begin(nova: &Nova) -> Child {
    begin_with(nova, &[])
}

fn begin_with(nova: &Nova, extra: &[&str]) -> Child {
    let (plan, input) = (blueprint(), repository_input(nova));
    nova.spawn(&[&["orchestrate", &plan, "--input", &input], extra].concat())
}

/// Waits for a run's command, and looks at what the run did.
pub(crate) fn ends_well(nova: &Nova, mut run: Child) {
    let code = eventually("the run ended", PATIENCE, || run.try_wait().expect("it is our child"));
    if !code.success() {
        let output = run.wait_with_output().expect("it has ended");
        panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    succeeds(nova);
}

/// Waits until the run has succeeded, whoever follows it.
fn succeeds(nova: &Nova) {
    let run =
        eventually("the run succeeded", PATIENCE, || latest(nova).filter(|run| run["state"] == "succeeded"));
    each_step_took_effect_once(nova, run["id"].as_str().expect("a run has an id"));
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

fn step_of(hit: &Value) -> String {
    let memory = if hit["memory"].is_object() { &hit["memory"] } else { hit };
    memory["labels"]["step"].to_string()
}

fn latest(nova: &Nova) -> Option<Value> {
    nova.run(&["--json", "workflow", "ls"]).json().as_array()?.first().cloned()
}

/// The process that all others of the mesh are below.
fn supervisor(nova: &Nova) -> Option<u64> {
    nova.mesh_file()?["pid"].as_u64()
}

/// A process of the session that runs `nova agent`.
fn agent_of(supervisor: u64) -> Option<u64> {
    Nova::session(supervisor).into_iter().find(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).nth(1) == Some(b"agent")
    })
}

/// Kills the command that a run was begun with.
fn kill_command(mut command: Child) {
    command.kill().expect("it is our child");
    command.wait().expect("it is our child");
}

fn kill(pid: u64) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill is there");
    assert!(status.success());
}
