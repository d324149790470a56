//! Commands end within their bounds, and nothing of them stays.

use nova_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Longest that a process which was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Invocation {
    Invocation::new("sh", Duration::from_secs(20)).args(["-c", script])
}

fn run(invocation: &Invocation) -> Output {
    Commands::default().run(invocation).unwrap()
}

fn alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[test]
fn command_answers_its_code_and_both_streams() {
    let output = run(&sh("echo out; echo err >&2; exit 3"));
    assert_eq!(output.end, End::Exited(3));
    assert_eq!(
        (output.stdout.bytes.as_slice(), output.stderr.bytes.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
}

#[test]
fn command_reads_what_it_is_given() {
    let mut invocation = Invocation::new("wc", Duration::from_secs(20)).args(["-c"]);
    invocation.stdin = vec![b'x'; 300_000];
    assert_eq!(String::from_utf8_lossy(&run(&invocation).stdout.bytes).trim(), "300000");
}

#[test]
fn timeout_kills_the_whole_group() {
    let mut invocation = sh("sleep 60 & echo $!; wait");
    invocation.timeout = Duration::from_millis(300);
    let output = run(&invocation);
    assert_eq!(output.end, End::TimedOut);
    let pid = String::from_utf8(output.stdout.bytes).unwrap();
    eventually("the end of the background process", PATIENCE, || (!alive(&pid)).then_some(()));
}

#[test]
fn nothing_left_in_the_background_outlives_the_command() {
    let output = run(&sh("sleep 60 >/dev/null 2>&1 & echo $!"));
    assert_eq!(output.end, End::Exited(0));
    let pid = String::from_utf8(output.stdout.bytes).unwrap();
    eventually("the end of the background process", PATIENCE, || (!alive(&pid)).then_some(()));
}

#[test]
fn what_was_said_is_kept_when_a_process_that_left_the_group_holds_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let mut invocation = sh("echo hello; setsid sh -c 'echo $$ >left; exec sleep 600' & \
        until [ -s left ]; do sleep 0.01; done; echo bye");
    invocation.cwd = Some(folder.path().to_owned());
    let output = run(&invocation);
    let pid = std::fs::read_to_string(folder.path().join("left")).unwrap();
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!((output.end, output.stdout.bytes.as_slice()), (End::Exited(0), &b"hello\nbye\n"[..]));
    assert!(output.stdout.unfinished && output.truncated(), "{output:?}");
}

#[test]
fn group_dies_with_the_runner_that_held_its_pipe() {
    let mut guard = Guard::start().unwrap();
    let mut child = spawn(&sh("sleep 60"), guard.group()).unwrap();
    drop(guard.shell.stdin.take());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn endless_output_is_stopped_at_the_bound() {
    let mut invocation = sh("yes");
    invocation.stdout = Keep::First(1_000);
    let output = run(&invocation);
    let kept = output.stdout.bytes.len();
    assert_eq!((output.end, kept, output.truncated()), (End::Overflowed, 1_000, true));
}

#[test]
fn tail_keeps_the_end() {
    let mut invocation = sh("seq 1 100000");
    invocation.stdout = Keep::Last(13);
    let output = run(&invocation);
    assert_eq!((output.stdout.bytes.as_slice(), output.truncated()), (&b"99999\n100000\n"[..], true));
}

#[test]
fn cancelled_command_is_killed() {
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert_eq!(Commands::new(cancelled).run(&sh("sleep 60")).unwrap().end, End::Cancelled);
}
