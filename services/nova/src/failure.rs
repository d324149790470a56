//! How a command fails: what happened, what to do, and an exit code for scripts.

use std::io;
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

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

/// No mesh runs where one is needed.
#[derive(Debug)]
pub(crate) struct NoMesh {
    home: String,
}

impl NoMesh {
    /// None in `home`.
    pub(crate) fn in_home(home: &Home) -> Self {
        Self { home: home.path().display().to_string() }
    }
}

impl std::fmt::Display for NoMesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no mesh runs in {}; `nova up` starts one", self.home)
    }
}

impl std::error::Error for NoMesh {}

/// A plan, its input or its arguments are wrong; found before a mesh is looked for.
#[derive(Debug)]
pub(crate) struct Misuse(Vec<String>);

impl Misuse {
    /// Of one or more things that are wrong.
    pub(crate) fn new(wrong: Vec<String>) -> Self {
        Self(wrong)
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

/// Prints an error to standard error, and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(status) = error.chain().find_map(|cause| cause.downcast_ref::<Status>()) {
        return report_status(status);
    }
    if reader_is_gone(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("nova: {error:#}");
    ExitCode::from(match error {
        error if error.is::<NoMesh>() => UNREACHABLE,
        error if error.is::<Misuse>() => MISUSED,
        _ => FAILED,
    })
}

/// Whether output could not be written because nobody reads on, as in `nova queue tasks | head`.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn report_status(status: &Status) -> ExitCode {
    let details = status.get_error_details();
    match details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default() {
        [] | [_] => eprintln!("nova: {}", status.message()),
        violations => {
            eprintln!("nova: {} things are wrong", violations.len());
            for violation in violations {
                eprintln!("  {}: {}", violation.field, violation.description);
            }
        }
    }
    if let Some(info) = details.error_info() {
        eprintln!("  reason: {}", info.reason);
    }
    if let Some(request) = details.request_info().filter(|request| !request.serving_data.is_empty()) {
        eprintln!("  trace: {}", output::printable(&request.serving_data));
    }
    ExitCode::from(match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => UNREACHABLE,
        Code::PermissionDenied | Code::Unauthenticated => DENIED,
        Code::NotFound => NOT_FOUND,
        Code::InvalidArgument | Code::OutOfRange => MISUSED,
        _ => FAILED,
    })
}
