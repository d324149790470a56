//! A run that makes no progress says why; logs stay small for as long as a mesh runs.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::Duration;

use nova_testkit::{eventually, send};

use crate::kill::{at_work, begin, ends_well, kept_mesh};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn who_follows_a_silent_run_is_told_what_its_mesh_misses() {
    let nova = kept_mesh("sqlite");
    let mut run = begin(&nova);
    at_work(&nova);
    let queue = u64::from(nova.pid_of("queue"));
    send("STOP", queue);
    let said = BufReader::new(run.stderr.take().expect("it is kept"));
    let told = said.lines().map_while(Result::ok).find(|line| line.contains("the run waits"));
    send("CONT", queue);
    let told = told.expect("the run was waited for in silence");
    assert!(told.contains("queue: does not answer"), "{told}");
    ends_well(&nova, run);
}

#[test]
fn a_log_that_grows_large_is_begun_anew_while_its_daemon_writes_to_it() {
    let nova = kept_mesh("sqlite");
    let log = nova.home().join("logs/queue.log");
    let line = format!("{}\n", "x".repeat(1023));
    let mut grown = File::options().append(true).open(&log).expect("the daemon has a log");
    grown.write_all(line.repeat(17 << 10).as_bytes()).expect("a writable log");
    let size = |log: &Path| fs::metadata(log).map_or(0, |log| log.len());
    eventually("the log was begun anew", PATIENCE, || (size(&log) < 1 << 20).then_some(()));
    assert!(size(&log.with_extension("log.1")) > 16 << 20, "the old one is kept beside it");
    send("TERM", nova.pid_of("queue"));
    eventually("the daemon goes on with the new one", PATIENCE, || (size(&log) > 0).then_some(()));
    let text = fs::read_to_string(&log).expect("text");
    assert!(text.starts_with(|first: char| !first.is_control()), "no hole at its begin");
}
