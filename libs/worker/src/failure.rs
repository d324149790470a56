//! How a handler says that its attempt failed.

use std::fmt;
use std::time::Duration;

use nova_proto::queue::v1::{self as pb, settlement};
use tonic::{Code, Status};

/// Longest reason, in bytes.
const REASON: usize = 64;
/// Longest message, in bytes.
const MESSAGE: usize = 4 << 10;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: String,
    message: String,
    permanent: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    /// The attempt failed; the queue tries again as the task's retry policy says.
    /// `reason` is stable and for programs, at most 64 bytes; `message` is for people, at most 4 KiB.
    pub fn new(reason: &str, message: impl fmt::Display) -> Self {
        Self {
            reason: cut(reason, REASON),
            message: cut(&message.to_string(), MESSAGE),
            permanent: false,
            retry_after: None,
        }
    }

    /// The attempt failed, and so would every other.
    pub fn permanent(reason: &str, message: impl fmt::Display) -> Self {
        Self { permanent: true, ..Self::new(reason, message) }
    }

    /// A call of the mesh failed. Its reason is kept; what was denied, malformed or absent is permanent.
    pub fn call(status: &Status) -> Self {
        use tonic_details::reason_of;
        let reason = reason_of(status);
        let message = format!("{}: {}", status.code().description(), status.message());
        Self { permanent: is_permanent(status.code()), ..Self::new(&reason, message) }
    }

    /// Tries again after this long instead of the policy's backoff.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Stable, for programs.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// True when there will be no other attempt.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    pub(crate) fn into_outcome(self) -> settlement::Outcome {
        settlement::Outcome::Failed(pb::Failure {
            error: Some(pb::TaskError { reason: self.reason, message: self.message }),
            permanent: self.permanent,
            retry_after: self.retry_after.and_then(|wait| wait.try_into().ok()),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::call(&status)
    }
}

fn is_permanent(code: Code) -> bool {
    matches!(
        code,
        Code::PermissionDenied
            | Code::InvalidArgument
            | Code::NotFound
            | Code::Unimplemented
            | Code::AlreadyExists
    )
}

/// Cuts at a character, and says so.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - 3).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

mod tonic_details {
    //! The reason in the details of a status.

    use tonic::{Code, Status};
    use tonic_types::StatusExt as _;

    pub(super) fn reason_of(status: &Status) -> String {
        let details = status.get_error_details();
        match details.error_info() {
            Some(info) if !info.reason.is_empty() => info.reason.clone(),
            _ => name(status.code()).to_owned(),
        }
    }

    fn name(code: Code) -> &'static str {
        match code {
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::NotFound => "NOT_FOUND",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::Unavailable => "UNAVAILABLE",
            _ => "CALL_FAILED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = Failure::new("R", "ä".repeat(3_000));
        assert!(failure.message().len() <= MESSAGE && failure.message().ends_with("ä…"));
    }

    #[test]
    fn denied_calls_are_permanent_and_unavailable_ones_are_not() {
        let denied = Failure::from(Status::permission_denied("no"));
        assert_eq!((denied.reason(), denied.is_permanent()), ("PERMISSION_DENIED", true));
        assert!(!Failure::from(Status::unavailable("away")).is_permanent());
    }
}
