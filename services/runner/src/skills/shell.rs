//! `shell`: runs the step's own command; an exit code other than 0 is a failed attempt.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Finding, Outcome, Request, SkillError, text};
use crate::commands::{End, Invocation, Keep, Output};

/// Kept of each stream, in bytes.
const TAIL: usize = 16 << 10;
/// Kept of the standard error in the message of a failed attempt, in bytes.
const SAID: usize = 1 << 10;
/// Characters of a command that are told.
const SHOWN: usize = 60;
/// How long a command may take whose step names no time, and what `timeout_seconds` may say at most, in seconds.
const LONGEST: u64 = 3_600;

/// What a step gives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Given to `sh -c`.
    run: String,
    /// Folder to run it in.
    cwd: Option<PathBuf>,
    /// Bound of the command alone, in seconds; else the attempt's.
    timeout_seconds: Option<u64>,
}

/// How a command ended that ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShellFinding {
    /// What ran, with its secrets masked.
    pub command: String,
    /// Always 0: any other is a failed attempt.
    pub exit_code: i32,
    /// The end of its output, at most 16 KiB.
    pub stdout: String,
    /// The end of its errors, at most 16 KiB.
    pub stderr: String,
    /// True when not all of what it wrote is here: there was more, or a process that it left behind still writes.
    pub truncated: bool,
    /// How long it ran, in milliseconds.
    pub duration_ms: u128,
}

/// Serves `shell`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let input: Input = request.step.with()?;
    let timeout = bound(input.timeout_seconds, request.time)?;
    let mut invocation = in_shell(&input.run, timeout, request);
    invocation.cwd = input.cwd;
    let output = request
        .commands
        .run(&invocation)
        .map_err(|source| SkillError::Start { program: "sh".to_owned(), source })?;
    Outcome::of(&settle(input.run, &output, timeout)?)
}

/// What the step says of its command, else what it says of an attempt.
fn bound(seconds: Option<u64>, attempt: Option<Duration>) -> Result<Duration, SkillError> {
    match seconds {
        None => Ok(attempt.unwrap_or(Duration::from_secs(LONGEST))),
        Some(seconds) if (1..=LONGEST).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => {
            Err(SkillError::Input(format!("with.timeout_seconds: must be 1 to {LONGEST}, not {seconds}")))
        }
    }
}

/// A shell's command that knows its attempt, step and run.
pub(super) fn in_shell(command: &str, timeout: Duration, request: &Request) -> Invocation {
    let mut invocation = Invocation::new("sh", timeout)
        .args(["-c", command])
        .env("NOVA_ATTEMPT", request.attempt.to_string())
        .env("NOVA_RUN", request.step.run.as_str())
        .env("NOVA_STEP", request.step.step.as_str());
    invocation.stdout = Keep::Last(TAIL);
    invocation.stderr = Keep::Last(TAIL);
    invocation
}

fn settle(command: String, output: &Output, timeout: Duration) -> Result<ShellFinding, SkillError> {
    match output.end {
        End::Exited(0) => Ok(ShellFinding {
            command,
            exit_code: 0,
            stdout: text::tail(&output.stdout, TAIL),
            stderr: text::tail(&output.stderr, TAIL),
            truncated: output.truncated(),
            duration_ms: output.duration.as_millis(),
        }),
        End::Exited(code) => {
            let stderr = text::tail(&output.stderr, SAID);
            Err(SkillError::Command { command: text::short(&command, SHOWN), code, stderr })
        }
        End::TimedOut | End::Overflowed => Err(SkillError::TimedOut {
            command: text::short(&command, SHOWN),
            seconds: timeout.as_secs_f64(),
        }),
        End::Cancelled => Err(SkillError::Cancelled { command: text::short(&command, SHOWN) }),
    }
}

impl Finding for ShellFinding {
    fn summary(&self) -> String {
        let last = self.stdout.lines().last().unwrap_or_default();
        let said = if last.is_empty() { String::new() } else { format!("; it said: {last}") };
        format!(
            "{} ended well after {} ms{said}",
            text::code(&text::short(&self.command, SHOWN)),
            self.duration_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Commands;
    use crate::step::StepTask;

    fn attempt(number: u32, with: &str) -> Result<Outcome, SkillError> {
        attempt_within(None, number, with)
    }

    fn attempt_within(time: Option<Duration>, number: u32, with: &str) -> Result<Outcome, SkillError> {
        let payload = format!(r#"{{"run":"r-1","step":"s-1","with":{with}}}"#);
        let step = StepTask::parse(payload.as_bytes()).unwrap();
        run(&Request { step, attempt: number, time, depth: 0, now: 0, commands: Commands::default() })
    }

    #[test]
    fn command_knows_its_attempt_run_and_step() {
        let data = attempt(2, r#"{"run":"echo $NOVA_ATTEMPT $NOVA_RUN $NOVA_STEP"}"#).unwrap().data;
        assert_eq!(data["stdout"], "2 r-1 s-1");
    }

    #[test]
    fn command_may_fail_first_and_do_well_later() {
        let with = r#"{"run":"[ \"$NOVA_ATTEMPT\" -gt 1 ] || { echo not yet >&2; exit 7; }"}"#;
        let error = attempt(1, with).unwrap_err();
        let (told, cut) = (error.to_string(), "exited with 7: `[ \"$NOVA_ATTEMPT\" -gt 1 ] ||");
        assert!(told.starts_with(cut) && told.ends_with("`: not yet"), "{told}");
        assert!(!error.is_permanent());
        assert!(attempt(2, with).is_ok());
    }

    #[test]
    fn command_runs_in_its_folder_and_no_longer_than_allowed() {
        assert_eq!(attempt(1, r#"{"run":"pwd","cwd":"/"}"#).unwrap().data["stdout"], "/");
        let error = attempt(1, r#"{"run":"sleep 60","timeout_seconds":1}"#).unwrap_err();
        assert_eq!(error.reason(), "TIMED_OUT");
    }

    #[test]
    fn command_has_the_time_of_its_attempt() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(bound(None, Some(minutes(10))).unwrap(), minutes(10));
        assert_eq!(bound(None, Some(minutes(600))).unwrap(), minutes(600));
        assert_eq!(bound(None, None).unwrap(), minutes(60));
        assert_eq!(bound(Some(60), Some(minutes(10))).unwrap(), minutes(1));
        let moment = Some(Duration::from_millis(1_500));
        let error = attempt_within(moment, 1, r#"{"run":"sleep 60"}"#).unwrap_err();
        assert_eq!(error.to_string(), "stopped after 1.5 s: `sleep 60`");
    }

    #[test]
    fn bound_out_of_range_is_refused() {
        let error = attempt(1, r#"{"run":"true","timeout_seconds":0}"#).unwrap_err();
        assert_eq!(error.to_string(), "with.timeout_seconds: must be 1 to 3600, not 0");
    }
}
