//! Signals to processes that a test started.

use std::process::Command;

/// Sends a signal by its name (`TERM`, `KILL`, `STOP`…). The shell's own `kill` does it, since not every machine has
/// a program of that name.
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub fn send(signal: &str, pid: impl Into<u64>) {
    let pid = pid.into();
    let kill = format!("kill -s {signal} {pid}");
    let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
    assert!(status.success(), "{kill}: {status}");
}
