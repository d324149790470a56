//! A mesh that cannot come up says why, and keeps nobody waiting.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nova_testkit::{Nova, Ran, eventually, send};

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store at which nobody listens.
const NOWHERE: &str = "redis://127.0.0.1:1";

/// What a command says that could bring no mesh up, and left none.
#[track_caller]
fn refused(nova: &Nova, ran: Ran, code: i32) -> String {
    assert_eq!(ran.code, code, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("the mesh does not come up: "), "{}", ran.stderr);
    assert_eq!(nova.mesh_file(), None);
    ran.stderr
}

#[test]
fn a_store_that_cannot_be_reached_is_told_once_with_the_daemon_that_needs_it() {
    let nova = Nova::new();
    let told = refused(&nova, nova.run(&["up", "--store", NOWHERE]), 3);
    assert!(told.contains(" does not start: "), "{told}");
    assert_eq!(told.matches("cannot reach redis at 127.0.0.1:1: ").count(), 1, "{told}");
    assert_eq!(told.matches("os error").count(), 1, "{told}");
}

#[test]
fn a_run_is_told_the_same() {
    let nova = Nova::new();
    let plan = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/blueprints/host-and-repo.yaml");
    let ran = nova.run(&["orchestrate", plan, "--input", "repo=.", "--store", NOWHERE]);
    assert!(refused(&nova, ran, 3).contains("cannot reach redis at 127.0.0.1:1: "));
}

#[test]
fn a_mesh_that_runs_is_not_taken_for_another_one() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    nova.run(&["up", "--store", "sqlite"]).ok();
    let others: [&[&str]; 3] = [&["--store", NOWHERE], &["--otlp", "http://127.0.0.1:1"], &["--plaintext"]];
    for other in others {
        let ran = nova.run(&[&["up"], other].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("the mesh that runs here "), "{}", ran.stderr);
    }
}

#[test]
fn two_who_bring_a_mesh_up_at_once_both_have_it() {
    let nova = Nova::new();
    for up in [nova.spawn(&["--json", "up"]), nova.spawn(&["--json", "up"])] {
        let status = Ran::of(&up.wait_with_output().expect("it is our child")).json();
        assert_eq!(status["mesh"]["state"], "ready", "{status}");
        assert_eq!(status["mesh"]["pid"], nova.mesh_file().expect("the mesh is up")["pid"], "{status}");
    }
}

#[test]
fn those_who_read_at_a_time_without_a_mesh_all_read_and_leave_none() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    nova.run(&["queue", "enqueue", "mail", "send"]).ok();
    assert!(nova.run(&["--json", "down"]).json()["stopped_pid"].is_u64());
    let readers: Vec<_> = (0..5).map(|_| nova.spawn(&["queue", "ls"])).collect();
    for reader in readers {
        let told = Ran::of(&reader.wait_with_output().expect("it is our child")).ok();
        assert!(told.contains("mail"), "{told}");
    }
    assert_eq!(nova.mesh_file(), None);
}

#[test]
fn a_setting_that_a_daemon_refuses_is_told_with_its_name() {
    let nova = Nova::new();
    let output = nova.command(&["up"]).env("NOVA_QUEUE__NONSENSE", "3").output().expect("nova starts");
    let told = refused(&nova, Ran::of(&output), 2);
    assert!(told.contains("queue does not start: the configuration is wrong: "), "{told}");
    assert_eq!(told.matches("queue.nonsense: there is no such key").count(), 1, "{told}");
}

#[test]
fn a_mesh_goes_down_with_a_command_that_is_ended_while_it_comes_up() {
    let nova = Nova::new();
    let mut up =
        without_room(&nova).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nova starts");
    let supervisor = eventually("the mesh comes up", PATIENCE, || nova.mesh_file()?["pid"].as_u64());
    // Not SIGINT, which is ignored below a shell's background job.
    send("TERM", up.id());
    assert_eq!(up.wait().expect("it is our child").signal(), Some(15), "it ends as any program does");
    eventually("every process is gone", PATIENCE, || Nova::session(supervisor).is_empty().then_some(()));
    assert_eq!(nova.mesh_file(), None);
    let log = fs::read_to_string(nova.home().join("logs/supervisor.log")).expect("it has a log");
    assert!(log.contains("whoever wanted it is gone"), "{log}");
}

/// A mesh that comes up, and is not ready for as long as one tries.
fn without_room(nova: &Nova) -> Command {
    let mut up = nova.command(&["up"]);
    up.env("NOVA_RUNTIME__MIN_FREE_DISK_MIB", u32::MAX.to_string());
    up
}

/// What a command was handed beside its three streams, such as a lock, must not live as long as the mesh.
#[test]
fn a_mesh_keeps_nothing_open_that_its_command_was_handed() {
    let nova = Nova::new();
    let lock = nova.folder().join("lock");
    let own = nova.command(&["up"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 8>\"$0\"; \"$1\" up"]).arg(&lock).arg(own.get_program());
    assert!(nova.at_home(&mut shell).output().expect("a shell").status.success());
    let supervisor = nova.mesh_file().expect("the mesh is up")["pid"].as_u64().expect("a number");
    for pid in Nova::session(supervisor) {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours").flatten();
        let files: Vec<_> = open.filter_map(|file| fs::read_link(file.path()).ok()).collect();
        assert!(!files.contains(&lock), "process {pid}: {files:?}");
    }
}

#[test]
fn a_damaged_store_of_traces_is_set_aside() {
    let nova = Nova::new();
    fs::create_dir_all(nova.home()).expect("a writable folder");
    fs::write(nova.home().join("traces.db"), "garbage".repeat(1_000)).expect("a writable folder");
    nova.run(&["up"]).ok();
    assert!(nova.home().join("traces.db.damaged").exists());
}

#[test]
fn a_disk_without_room_is_told_by_every_daemon() {
    let nova = Nova::new();
    let output = without_room(&nova).output().expect("nova starts");
    let told = refused(&nova, Ran::of(&output), 3);
    assert!(told.contains("is not ready: disk: ") && told.contains(" MiB are free for "), "{told}");
}

/// This very test binary, run by somebody who has a store and an identity of their own.
#[test]
fn a_test_uses_neither_store_nor_identity_of_whoever_runs_it() {
    let test = "start::a_mesh_keeps_nothing_open_that_its_command_was_handed";
    let mut run = Command::new(std::env::current_exe().expect("an executable has a path"));
    run.args(["--exact", test]).env("NOVA_STORE", NOWHERE).env("NOVA_TOKEN", "nonsense");
    let told = Ran::of(&run.output().expect("it starts")).ok();
    assert!(told.contains("1 passed"), "{told}");
}
