//! The supervisor starts again what dies, also when that fails at first.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nova_testkit::{Nova, eventually, send};

#[test]
fn a_daemon_that_could_not_be_started_again_is_tried_until_it_can() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let config = nova.home().join("daemons/queue/config.toml");
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    send("KILL", nova.pid_of("queue"));
    eventually("the supervisor says what is wrong", Duration::from_secs(60), || {
        let log = fs::read_to_string(nova.home().join("logs/supervisor.log")).ok()?;
        log.contains("cannot be run").then_some(())
    });
    fs::remove_dir(&config).unwrap();
    eventually("the queue is back", Duration::from_secs(60), || {
        (nova.run(&["queue", "ls"]).code == 0).then_some(())
    });
}

/// A plan whose agent has next to nothing to do.
const TINY: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: tiny}
spec:
  agents:
    worker: {role: worker, capabilities: [greeting]}
  phases:
    - name: work
      agents: [worker]
      steps:
        - {id: hello, kind: shell, capability: greeting, with: {run: echo hello}}
"#;

#[test]
fn a_mesh_goes_on_when_its_executable_is_replaced() {
    let nova = Nova::new();
    let copy = nova.folder().join("nova");
    bring_up_with(&nova, &copy);
    let other = nova.folder().join("other");
    fs::write(&other, "not the version that runs").expect("a writable folder");
    fs::rename(&other, &copy).expect("a writable folder");
    for daemon in ["queue", "node"] {
        let pid = nova.pid_of(daemon);
        send("KILL", pid);
        eventually(&format!("{daemon} is back"), Duration::from_secs(60), || {
            (nova.pid_of(daemon) != pid && nova.run(&["status"]).code == 0).then_some(())
        });
    }
    orchestrate_tiny(&nova, &[]);
}

/// Runs [`TINY`] to its end.
pub(crate) fn orchestrate_tiny(nova: &Nova, options: &[&str]) -> String {
    let plan = nova.folder().join("tiny.yaml");
    fs::write(&plan, TINY).expect("a writable folder");
    nova.run(&[&["orchestrate", plan.to_str().expect("UTF-8")], options].concat()).ok()
}

/// Brings a mesh up with a copy of the executable. Another process makes it: one that this process has open for
/// writing could be handed on to a child, and could then not be run.
fn bring_up_with(nova: &Nova, copy: &Path) {
    let up = nova.command(&["up"]);
    let copied = Command::new("cp").arg(up.get_program()).arg(copy).status().expect("cp is there");
    assert!(copied.success());
    let up = nova.at_home(&mut Command::new(copy)).arg("up").output().expect("the copy starts");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
}

#[test]
fn a_collector_that_never_answers_does_not_slow_a_mesh_down() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nova = Nova::new();
    nova.run(&["up", "--otlp", &format!("http://{}", silent.local_addr().unwrap())]).ok();
    nova.run(&["queue", "enqueue", "mail", "send", "--payload", "hello"]).ok();
    nova.run(&["down"]).ok();
}

/// One step that goes on until a file is there, and has one attempt.
const PLAN: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: long, version: 1}
spec:
  agents:
    worker: {role: worker, capabilities: [waiting]}
  phases:
    - name: work
      agents: [worker]
      steps:
        - id: long
          kind: shell
          capability: waiting
          with: {run: 'until [ -e "FILE" ]; do sleep 0.1; done'}
          timeout: 5m
          retry: {max_attempts: 1}
"#;

pub(crate) fn a_step_in_progress_outlives_down_and_up(store: &str) {
    let nova = Nova::new();
    let (plan, file) = (nova.folder().join("long.yaml"), nova.folder().join("file"));
    fs::write(&plan, PLAN.replace("FILE", &file.display().to_string())).expect("a writable folder");
    nova.run(&["up", "--store", store]).ok();
    let run = nova.run(&["orchestrate", plan.to_str().expect("UTF-8"), "--detach"]).ok();
    let shown = || nova.run(&["--json", "workflow", "show", run.trim()]).json();
    eventually("the step runs", Duration::from_secs(60), || {
        (shown()["phases"][0]["steps"][0]["state"] == "running").then_some(())
    });
    let left = nova.run(&["down"]).stderr;
    assert!(left.contains(&format!("run {} of long is left unfinished", run.trim())), "{left}");
    fs::write(file, "").expect("a writable folder");
    let resumed = nova.run(&["up"]).stderr;
    assert!(resumed.contains(&format!("unfinished run {} of long goes on", run.trim())), "{resumed}");
    let ended = eventually("the run ended", Duration::from_secs(60), || {
        Some(shown()).filter(|run| run["state"] != "running")
    });
    assert_eq!(ended["state"], "succeeded", "{ended}");
}
