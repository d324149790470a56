//! How a command fails: what happened, what to do, and an exit code for scripts.

use std::io;
use std::process::ExitCode;

use nova_rpc::Reason;
use serde::Serialize;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt as _};

use crate::commands::output;
use crate::home::Home;

/// The run, or what was asked, did not succeed.
pub(crate) const FAILED: u8 = 1;
/// What was typed, or a plan or input that it names, makes no sense.
pub(crate) const MISUSED: u8 = 2;
/// No mesh, or it cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// Policy denies it, or there is no identity.
pub(crate) const DENIED: u8 = 4;
/// There is no such thing.
pub(crate) const NOT_FOUND: u8 = 5;
/// Ctrl-C, as shells count it.
pub(crate) const INTERRUPTED: u8 = 130;
/// SIGTERM, as shells count it.
pub(crate) const TERMINATED: u8 = 143;

/// No mesh runs where one is needed.
#[derive(Debug)]
pub(crate) struct NoMesh(String);

impl NoMesh {
    /// None in `home`.
    pub(crate) fn in_home(home: &Home) -> Self {
        Self(format!("no mesh runs in {}; `nova up` starts one", home.path().display()))
    }

    /// None could be brought up.
    pub(crate) fn because(why: String) -> Self {
        Self(why)
    }
}

impl std::fmt::Display for NoMesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoMesh {}

/// A plan, its input, its arguments or the settings of a daemon are wrong.
#[derive(Debug)]
pub(crate) struct Misuse(Vec<String>);

impl Misuse {
    /// Of one or more things that are wrong.
    pub(crate) fn new(wrong: Vec<String>) -> Self {
        Self(wrong)
    }

    /// Of one thing.
    pub(crate) fn of(wrong: String) -> anyhow::Error {
        Self(vec![wrong]).into()
    }
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => write!(f, "{} things are wrong\n  {}", many.len(), many.join("\n  ")),
        }
    }
}

impl std::error::Error for Misuse {}

/// What was asked for is not there.
#[derive(Debug)]
pub(crate) struct NotFound(pub(crate) String);

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFound {}

/// Prints an error to standard error, as text or as one line of JSON, and gives its exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let failure = match error.chain().find_map(|cause| cause.downcast_ref::<Status>()) {
        Some(status) => Failure::of_call(status),
        None if reader_is_gone(error) => return ExitCode::SUCCESS,
        None => Failure::of_command(error),
    };
    if json {
        failure.tell_json()
    } else {
        failure.tell()
    }
    ExitCode::from(failure.exit_code)
}

/// What there is to tell.
#[derive(Debug, Default, Serialize)]
struct Failure {
    message: String,
    /// Stable, for programs; empty when no call failed, unless something is not there.
    reason: String,
    violations: Vec<Violated>,
    /// The command that shows the call.
    trace: String,
    exit_code: u8,
}

/// A field and the rule that it breaks.
#[derive(Debug, Serialize)]
struct Violated {
    /// Its path in the request.
    field: String,
    rule: String,
}

impl Failure {
    fn of_command(error: &anyhow::Error) -> Self {
        let exit_code = match error {
            error if error.is::<NoMesh>() => UNREACHABLE,
            error if error.is::<Misuse>() => MISUSED,
            error if error.is::<NotFound>() => NOT_FOUND,
            _ => FAILED,
        };
        let reason = if exit_code == NOT_FOUND { Reason::NotFound.as_str() } else { "" };
        Self { message: format!("{error:#}"), reason: reason.to_owned(), exit_code, ..Self::default() }
    }

    fn of_call(status: &Status) -> Self {
        let details = status.get_error_details();
        let bad = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let request = details.request_info().map(|request| output::printable(&request.serving_data));
        Self {
            message: status.message().to_owned(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            violations: bad.iter().map(Violated::of).collect(),
            trace: request.unwrap_or_default(),
            exit_code: exit_code_of(status.code()),
        }
    }

    fn tell(&self) {
        match self.violations.as_slice() {
            [] => tell!("nova: {}", self.message),
            [one] => tell!("nova: {one}"),
            violations => {
                tell!("nova: {} things are wrong", violations.len());
                for one in violations {
                    tell!("  {one}");
                }
            }
        }
        for (name, value) in [("reason", &self.reason), ("trace", &self.trace)] {
            if !value.is_empty() {
                tell!("  {name}: {value}");
            }
        }
    }

    fn tell_json(&self) {
        tell!("{}", json!({"error": self}));
    }
}

fn exit_code_of(code: Code) -> u8 {
    match code {
        Code::Unavailable | Code::DeadlineExceeded => UNREACHABLE,
        Code::PermissionDenied | Code::Unauthenticated => DENIED,
        Code::NotFound => NOT_FOUND,
        Code::InvalidArgument | Code::OutOfRange => MISUSED,
        _ => FAILED,
    }
}

/// Whether output could not be written because nobody reads on, as in `nova queue tasks | head`.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Places of the wire that the options of a command do not have.
const PLACES: [&str; 6] = ["tasks[0].", "schedule.task.", "schedule.", "settings.", "filter.", "retry."];

impl Violated {
    fn of(violation: &FieldViolation) -> Self {
        Self { field: violation.field.clone(), rule: violation.description.clone() }
    }
}

/// As people know the field: `lease duration: …` for `tasks[0].lease_duration`. A command has no list to tell places in;
/// other paths, such as those into a plan, are left as they are.
impl std::fmt::Display for Violated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let without = |field, place| str::strip_prefix(field, place).unwrap_or(field);
        let own = PLACES.iter().fold(self.field.as_str(), |field, place| without(field, *place));
        let plain = own.strip_suffix("[0]").unwrap_or(own);
        let is_plain = plain.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let words = if is_plain { plain.replace('_', " ") } else { own.to_owned() };
        write!(f, "{words}: {}", self.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, told: &str) {
        let rule = "must be 1s to 1h";
        assert_eq!(Violated::of(&FieldViolation::new(field, rule)).to_string(), format!("{told}: {rule}"));
    }

    #[test]
    fn a_field_of_the_wire_is_told_in_words() {
        check("ttl", "ttl");
        check("tasks[0].lease_duration", "lease duration");
        check("settings.keep_for", "keep for");
        check("tasks[0].metadata[\"a\"]", "metadata[\"a\"]");
        check("tasks[0].retry.max_backoff", "max backoff");
        check("schedule.task.unique_key", "unique key");
        check("schedule.time_zone", "time zone");
        check("task_ids[0]", "task ids");
        check("plan.yaml:7:3", "plan.yaml:7:3");
        check("spec.phases[1].steps[0].id", "spec.phases[1].steps[0].id");
    }
}
