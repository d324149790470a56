//! `repo.tests`: runs the repository's own tests, when it was asked to, within a bound of time and depth.
//!
//! The repository may be Nova's own, whose tests run plans: each test command runs one level deeper,
//! and beyond the first nothing is run. A test command that fails is a finding, not a failed step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::build;
use super::git::Repository;
use super::tree::{Limits, Tree};
use crate::commands::{End, Output};
use crate::skills::shell::in_shell;
use crate::skills::{Finding, Outcome, Request, SkillError, text};
use crate::step::switch;

/// The variable that tells a process how deep it runs.
pub const DEPTH_VARIABLE: &str = "NOVA_DEPTH";
/// Test commands nested in each other, at most.
const DEPTH: u32 = 1;
/// Kept of the output, in bytes.
const TAIL: usize = 8 << 10;
/// Characters of the command in the summary.
const SHOWN: usize = 200;
/// Bound of the test command, in seconds: by default and at most.
const SECONDS: (u64, u64) = (600, 3_600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    repo: String,
    /// Nothing is run without it.
    #[serde(default, deserialize_with = "switch")]
    run_tests: bool,
    /// Instead of the command that the repository's files tell.
    test_command: Option<String>,
    timeout_seconds: Option<u64>,
}

/// What the tests said, or why they were not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TestsFinding {
    /// The command; unset where none is known.
    pub command: Option<String>,
    /// True when it was run.
    pub ran: bool,
    /// Why it was not run.
    pub reason: Option<String>,
    /// True when it ended with 0; unset when it was not run.
    pub passed: Option<bool>,
    /// Its exit code; unset when it was stopped.
    pub exit_code: Option<i32>,
    /// True when its time was over.
    pub timed_out: bool,
    /// How long it ran, in milliseconds.
    pub duration_ms: u128,
    /// The end of its output, at most 8 KiB each for output and errors.
    pub tail: String,
    /// True when not all of what it wrote is there.
    pub truncated: bool,
}

/// Serves `repo.tests`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let input: Input = request.step.with()?;
    let repository = Repository::open(&request.commands, &input.repo)?;
    let tree = Tree::list(&repository, Limits::default())?;
    let known = build::examine(&tree);
    let command = input.test_command.clone().or(known.test_command().map(str::to_owned));
    let finding = match (why_not(&input, request, command.as_deref()), command) {
        (None, Some(command)) => test(&repository, command, &input, request)?,
        (reason, command) => TestsFinding { command, reason, ..TestsFinding::default() },
    };
    Outcome::of(&finding)
}

fn why_not(input: &Input, request: &Request, command: Option<&str>) -> Option<String> {
    match command {
        None => Some("no file tells how the repository is tested".to_owned()),
        _ if !input.run_tests => Some("not asked to: run_tests is false".to_owned()),
        _ if request.depth >= DEPTH => {
            Some(format!("already inside of a test command, {DEPTH_VARIABLE}={}", request.depth))
        }
        Some(_) => None,
    }
}

fn test(
    repository: &Repository,
    command: String,
    input: &Input,
    request: &Request,
) -> Result<TestsFinding, SkillError> {
    let timeout = Duration::from_secs(input.timeout_seconds.unwrap_or(SECONDS.0).clamp(1, SECONDS.1));
    let mut invocation =
        in_shell(&command, timeout, request).env(DEPTH_VARIABLE, (request.depth + 1).to_string());
    invocation.cwd = Some(repository.root().to_owned());
    let output = request
        .commands
        .run(&invocation)
        .map_err(|source| SkillError::Start { program: "sh".to_owned(), source })?;
    match output.end {
        End::Cancelled => Err(SkillError::Cancelled { command }),
        _ => Ok(TestsFinding::of(command, &output)),
    }
}

impl TestsFinding {
    fn of(command: String, output: &Output) -> Self {
        let exit_code = match output.end {
            End::Exited(code) => Some(code),
            _ => None,
        };
        let tails = [&output.stdout, &output.stderr].map(|stream| text::tail(stream, TAIL));
        Self {
            command: Some(command),
            ran: true,
            reason: None,
            passed: Some(exit_code == Some(0)),
            exit_code,
            timed_out: output.end == End::TimedOut,
            duration_ms: output.duration.as_millis(),
            tail: tails.join("\n").trim().to_owned(),
            truncated: output.truncated()
                || [&output.stdout, &output.stderr].iter().any(|one| one.bytes.len() > TAIL),
        }
    }
}

impl Finding for TestsFinding {
    fn summary(&self) -> String {
        let command = text::code(&text::short(self.command.as_deref().unwrap_or_default(), SHOWN));
        let seconds = self.duration_ms as f64 / 1_000.0;
        match (&self.reason, self.exit_code) {
            (Some(reason), _) if self.command.is_none() => format!("tests not run: {reason}"),
            (Some(reason), _) => format!("tests not run ({command}): {reason}"),
            (None, Some(0)) => format!("tests pass: {command} in {seconds:.1} s"),
            (None, Some(code)) => format!("tests fail: {command} exited with {code} after {seconds:.1} s"),
            (None, None) => format!("tests were stopped: {command} was not done after {seconds:.1} s"),
        }
    }

    fn importance(&self) -> f64 {
        if self.passed == Some(false) { 0.9 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skills::repo::fixture::Fixture;

    fn makefile(recipe: &str) -> Fixture {
        Fixture::new().file("Makefile", format!("test:\n\t@{recipe}\n"))
    }

    fn tested(fixture: &Fixture, with: &str, depth: u32) -> Outcome {
        let request = Request { depth, ..fixture.request(with) };
        run(&request).unwrap()
    }

    #[test]
    fn nothing_is_run_without_being_asked_to() {
        let fixture = makefile("touch ran");
        let outcome = tested(&fixture, "{}", 0);
        assert!(!fixture.path().join("ran").exists());
        assert_eq!(outcome.summary, "tests not run (`make test`): not asked to: run_tests is false");
    }

    #[test]
    fn a_repository_that_tells_no_command_says_so() {
        let outcome = tested(&Fixture::new().file("a.txt", "a\n"), r#"{"run_tests":true}"#, 0);
        assert_eq!(outcome.summary, "tests not run: no file tells how the repository is tested");
    }

    #[test]
    fn nothing_is_run_inside_of_a_test_command() {
        let data = tested(&makefile("true"), r#"{"run_tests":true}"#, 1).data;
        assert_eq!((&data["ran"], &data["passed"]), (&false.into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_test_command_knows_that_it_is_one() {
        let data = tested(&makefile("echo depth $$NOVA_DEPTH"), r#"{"run_tests":"true"}"#, 0).data;
        assert_eq!((&data["passed"], &data["tail"]), (&true.into(), &"depth 1".into()));
    }

    #[test]
    fn failing_tests_are_a_finding_that_matters() {
        let outcome = tested(&makefile("echo broken; exit 1"), r#"{"run_tests":true}"#, 0);
        assert_eq!(outcome.data["passed"], false);
        assert!(outcome.importance > 0.5 && outcome.data["tail"].as_str().unwrap().contains("broken"));
    }

    #[test]
    fn tests_that_never_end_are_stopped() {
        let with = r#"{"run_tests":true,"test_command":"sleep 60","timeout_seconds":1}"#;
        let data = tested(&makefile("true"), with, 0).data;
        assert_eq!((&data["timed_out"], &data["passed"]), (&true.into(), &false.into()));
    }
}
