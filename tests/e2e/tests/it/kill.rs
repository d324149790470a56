//! `kill -9` of any part, at a random point of a run: the run ends as it should, every step took effect once.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use nova_testkit::{Nova, eventually, send};
use serde_json::Value;

use crate::run::{blueprint, repository_input};

/// Longest that a disturbed run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest that a run may take to begin.
const STARTUP: Duration = Duration::from_secs(60);

/// How many steps may have ended when something is killed: from none to all but [`GATE`] and the summary.
const POINTS: usize = 20;

/// A step that goes on until a file is there, so that the run is not over before something was killed.
const GATE: &str = r#"        - id: gate
          kind: shell
          capability: rehearsal
          with: {run: 'until [ -e "FILE" ]; do sleep 0.1; done'}
          timeout: 2m
"#;

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
    at_some_point(&nova, "an agent");
    let (_, agents) = at_work(&nova);
    send("KILL", agents[random(agents.len())]);
    ends_well(&nova, run);
}

pub(crate) fn a_run_on_a_kept_mesh_goes_on_when_nova_is_killed(store: &str) {
    let nova = kept_mesh(store);
    let run = begin(&nova);
    at_some_point(&nova, "nova");
    kill_command(run);
    succeeds(&nova);
}

pub(crate) fn a_mesh_for_one_run_is_gone_when_nova_is_killed_and_the_next_goes_on(store: &str) {
    let nova = Nova::new();
    let run = begin_with(&nova, &["--store", store]);
    let (supervisor, _) = at_work(&nova);
    at_some_point(&nova, "nova");
    kill_command(run);
    eventually("every process is gone", STARTUP, || Nova::session(supervisor).is_empty().then_some(()));
    nova.run(&["up"]).ok();
    succeeds(&nova);
}

pub(crate) fn a_run_on_a_kept_mesh_goes_on_when_nova_is_terminated(store: &str) {
    let nova = kept_mesh(store);
    let run = begin(&nova);
    at_some_point(&nova, "nova");
    let told = terminated(run);
    assert!(told.contains("the run goes on; `nova workflow watch "), "{told}");
    assert!(told.contains("`nova workflow cancel "), "{told}");
    succeeds(&nova);
}

pub(crate) fn a_mesh_for_one_run_goes_down_when_nova_is_terminated_and_the_next_goes_on(store: &str) {
    let nova = Nova::new();
    let run = begin_with(&nova, &["--store", store]);
    at_work(&nova);
    at_some_point(&nova, "nova");
    let told = terminated(run);
    assert!(told.contains(" is left unfinished"), "{told}");
    assert!(nova.mesh_file().is_none(), "the mesh went down with the run");
    let listed = nova.run(&["workflow", "ls"]);
    assert!(listed.stderr.contains("no mesh runs"), "{}", listed.stderr);
    let up = nova.run(&["up"]);
    assert!(up.stderr.contains("unfinished run ") && up.stderr.contains(" goes on"), "{}", up.stderr);
    succeeds(&nova);
}

#[test]
fn who_follows_a_run_is_told_that_its_mesh_went_down() {
    let nova = kept_mesh("sqlite");
    let run = begin(&nova);
    at_work(&nova);
    nova.run(&["down"]).ok();
    let output = run.wait_with_output().expect("it is our child");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("the mesh is down; run ") && told.contains(" is left unfinished"), "{told}");
}

#[test]
fn what_reads_while_a_mesh_goes_down_waits_for_its_turn() {
    let nova = Nova::new();
    let run = begin_with(&nova, &[]);
    at_work(&nova);
    kill_command(run);
    let listed = nova.run(&["--json", "workflow", "ls"]).json();
    assert_eq!(listed[0]["state"], "running", "{listed}");
}

#[test]
fn a_command_that_is_interrupted_again_waits_for_nothing_more() {
    let nova = Nova::new();
    let mut run = begin_with(&nova, &[]);
    let (supervisor, _) = at_work(&nova);
    let queue = u64::from(nova.pid_of("queue"));
    send("STOP", queue);
    let code = eventually("the command ended", STARTUP, || {
        send("INT", run.id());
        run.try_wait().expect("it is our child")
    });
    assert_eq!(code.code(), Some(130), "as shells count Ctrl-C");
    assert!(Nova::session(supervisor).contains(&queue), "it did not wait for the queue, which stands still");
    send("CONT", queue);
    eventually("every process is gone", STARTUP, || Nova::session(supervisor).is_empty().then_some(()));
}

/// Kills a daemon at some point of a run.
fn survives(daemon: &str, store: &str) {
    let nova = kept_mesh(store);
    let pid = nova.pid_of(daemon);
    let run = begin(&nova);
    at_some_point(&nova, daemon);
    send("KILL", pid);
    ends_well(&nova, run);
    assert_ne!(nova.pid_of(daemon), pid, "{daemon} was started again");
}

/// Waits for a random point of a run: a number of its steps have ended, and others have not.
pub(crate) fn at_some_point(nova: &Nova, victim: &str) {
    let point = random(POINTS);
    eprintln!("{victim} is killed once {point} steps have ended");
    let run = eventually("the run came so far", PATIENCE, || {
        let id = latest(nova)?["id"].as_str()?.to_owned();
        let run = nova.run(&["--json", "workflow", "show", &id]).json();
        (ended_steps(&run) >= point).then_some(run)
    });
    assert_eq!(run["state"], "running", "the run goes on");
}

fn ended_steps(run: &Value) -> usize {
    let goes_on = |step: &&Value| matches!(step["state"].as_str(), Some("pending" | "queued" | "running"));
    steps_of(run).filter(|step| !goes_on(step)).count()
}

fn random(below: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random % below as u64).expect("below a usize")
}

/// Waits until so much time has gone by.
pub(crate) fn outlast(time: Duration) {
    let began = Instant::now();
    eventually("its moment has come", PATIENCE, || (began.elapsed() > time).then_some(()));
}

/// A mesh that outlives its runs.
pub(crate) fn kept_mesh(store: &str) -> Nova {
    let nova = Nova::new();
    nova.run(&["up", "--store", store]).ok();
    nova
}

/// Begins a run of the gated blueprint on the mesh that is there.
pub(crate) fn begin(nova: &Nova) -> Child {
    begin_with(nova, &[])
}

pub(crate) fn begin_with(nova: &Nova, extra: &[&str]) -> Child {
    let (plan, input) = (gated(nova).display().to_string(), repository_input(nova));
    nova.spawn(&[&["orchestrate", &plan, "--input", &input], extra].concat())
}

/// The blueprint with a [`GATE`].
fn gated(nova: &Nova) -> PathBuf {
    let (plan, place) = (nova.folder().join("gated.yaml"), "        - id: forbidden\n");
    let gate = GATE.replace("FILE", &gate(nova).display().to_string());
    let blueprint = fs::read_to_string(blueprint()).expect("the blueprint is there");
    assert!(blueprint.contains(place), "a rehearsal");
    fs::write(&plan, blueprint.replace(place, &format!("{gate}{place}"))).expect("a writable folder");
    plan
}

/// The file that opens the gate.
fn gate(nova: &Nova) -> PathBuf {
    nova.folder().join("gate")
}

pub(crate) fn open_gate(nova: &Nova) {
    fs::write(gate(nova), "").expect("a writable folder");
}

/// Lets a run come to its end, waits for its command, and looks at what the run did.
pub(crate) fn ends_well(nova: &Nova, mut run: Child) {
    open_gate(nova);
    let code = eventually("the run ended", PATIENCE, || run.try_wait().expect("it is our child"));
    if !code.success() {
        let output = run.wait_with_output().expect("it has ended");
        panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    succeeds(nova);
}

/// Lets a run come to its end, whoever follows it.
fn succeeds(nova: &Nova) {
    open_gate(nova);
    let run =
        eventually("the run succeeded", PATIENCE, || latest(nova).filter(|run| run["state"] == "succeeded"));
    each_step_took_effect_once(nova, run["id"].as_str().expect("a run has an id"));
}

/// Each step that succeeded did so in one attempt, whatever others ended like, and wrote its finding once.
fn each_step_took_effect_once(nova: &Nova, run: &str) {
    let shown = nova.run(&["--json", "workflow", "show", run]).json();
    assert_eq!(shown["state"], "succeeded", "{shown}");
    let label = format!("run={run}");
    let found = nova.run(&["--json", "memory", "search", "", "--label", &label, "--limit", "1000"]).json();
    let hits = found.as_array().expect("a list of memories");
    let mut wrote: Vec<_> = hits.iter().map(step_of).collect();
    wrote.sort();
    let steps = steps_of(&shown);
    let mut succeeded: Vec<_> = steps.filter(|step| step["state"] == "succeeded").collect();
    succeeded.sort_by_key(|step| step["id"].to_string());
    for step in &succeeded {
        let attempts = step["attempt_log"].as_array().expect("a list of attempts");
        let well = attempts.iter().filter(|attempt| attempt["error"] == "").count();
        assert_eq!(well, 1, "attempts that ended well: {step}");
    }
    let succeeded: Vec<_> = succeeded.iter().map(|step| step["id"].to_string()).collect();
    assert_eq!(wrote, succeeded, "each step that succeeded wrote one finding, and no other did");
}

fn step_of(hit: &Value) -> String {
    let memory = if hit["memory"].is_object() { &hit["memory"] } else { hit };
    memory["labels"]["step"].to_string()
}

fn steps_of(run: &Value) -> impl Iterator<Item = &Value> {
    let phases = run["phases"].as_array().into_iter().flatten();
    phases.flat_map(|phase| phase["steps"].as_array().into_iter().flatten())
}

fn latest(nova: &Nova) -> Option<Value> {
    nova.run(&["--json", "workflow", "ls"]).json().as_array()?.first().cloned()
}

/// The process that all others of the mesh are below, and the agents, once there are any.
pub(crate) fn at_work(nova: &Nova) -> (u64, Vec<u64>) {
    eventually("an agent works", STARTUP, || {
        let supervisor = nova.mesh_file()?["pid"].as_u64()?;
        let agents = agents_of(supervisor);
        (!agents.is_empty()).then_some((supervisor, agents))
    })
}

/// Processes of the session that run `nova agent`.
fn agents_of(supervisor: u64) -> Vec<u64> {
    let is_agent = |pid: &u64| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).nth(1) == Some(b"agent")
    };
    Nova::session(supervisor).into_iter().filter(is_agent).collect()
}

/// Kills the command that a run was begun with.
fn kill_command(mut command: Child) {
    command.kill().expect("it is our child");
    command.wait().expect("it is our child");
}

/// Sends SIGTERM to the command that a run was begun with, and reads what it said to people.
fn terminated(command: Child) -> String {
    send("TERM", command.id());
    let output = command.wait_with_output().expect("it is our child");
    assert_eq!(output.status.code(), Some(143), "as shells count SIGTERM");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
