//! How a command fails: what happened, what to do, and an exit code for scripts.

use std::io;
use std::process::ExitCode;

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

/// Prints an error to standard error, and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(status) = error.chain().find_map(|cause| cause.downcast_ref::<Status>()) {
        return report_status(status);
    }
    if reader_is_gone(error) {
        return ExitCode::SUCCESS;
    }
    tell!("nova: {error:#}");
    ExitCode::from(match error {
        error if error.is::<NoMesh>() => UNREACHABLE,
        error if error.is::<Misuse>() => MISUSED,
        error if error.is::<NotFound>() => NOT_FOUND,
        _ => FAILED,
    })
}

/// Whether output could not be written because nobody reads on, as in `nova queue tasks | head`.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Places of the wire that the options of a command do not have.
const PLACES: [&str; 6] = ["tasks[0].", "schedule.task.", "schedule.", "settings.", "filter.", "retry."];

/// A broken rule as people know the field: `lease duration: …` for `tasks[0].lease_duration`. A command has no list to
/// tell places in; other paths, such as those into a plan, are left as they are.
fn in_words(violation: &FieldViolation) -> String {
    let (field, rule) = (violation.field.as_str(), &violation.description);
    let own = PLACES.iter().fold(field, |field, place| field.strip_prefix(place).unwrap_or(field));
    let plain = own.strip_suffix("[0]").unwrap_or(own);
    if plain.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
        return format!("{}: {rule}", plain.replace('_', " "));
    }
    format!("{own}: {rule}")
}

fn report_status(status: &Status) -> ExitCode {
    let details = status.get_error_details();
    match details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default() {
        [] => tell!("nova: {}", status.message()),
        [one] => tell!("nova: {}", in_words(one)),
        violations => {
            tell!("nova: {} things are wrong", violations.len());
            for violation in violations {
                tell!("  {}", in_words(violation));
            }
        }
    }
    if let Some(info) = details.error_info() {
        tell!("  reason: {}", info.reason);
    }
    if let Some(request) = details.request_info().filter(|request| !request.serving_data.is_empty()) {
        tell!("  trace: {}", output::printable(&request.serving_data));
    }
    ExitCode::from(match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => UNREACHABLE,
        Code::PermissionDenied | Code::Unauthenticated => DENIED,
        Code::NotFound => NOT_FOUND,
        Code::InvalidArgument | Code::OutOfRange => MISUSED,
        _ => FAILED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, told: &str) {
        let rule = "must be 1s to 1h";
        assert_eq!(in_words(&FieldViolation::new(field, rule)), format!("{told}: {rule}"));
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
