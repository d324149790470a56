//! How a handler says that its attempt failed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use nova_proto::queue::v1::{self as pb, settlement};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::BoxError;

/// Longest reason, in bytes.
const REASON: usize = 64;
/// The reason of a failure that has no other.
const HANDLER_FAILED: &str = "HANDLER_FAILED";
/// Longest message, in bytes.
const MESSAGE: usize = 4 << 10;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// An attempt that did not end with a result.
///
/// Errors of layers that are no `Failure` fail with the reason HANDLER_FAILED and are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: String,
    message: String,
    next: Next,
}

/// What the queue is to do with the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Try again, after the policy's backoff or this long.
    Retry(Option<Duration>),
    /// Give up.
    Bury,
    /// Hand it to somebody else, after this long if at all; the attempt does not count.
    Release(Option<Duration>),
}

impl Failure {
    /// The attempt failed; the queue tries again as the task's retry policy says.
    /// `reason` is stable and for programs, 1 to 64 bytes (HANDLER_FAILED in place of none); `message` is for people, at
    /// most 4 KiB.
    pub fn new(reason: &str, message: impl fmt::Display) -> Self {
        let message = cut(&message.to_string(), MESSAGE);
        let reason = if reason.is_empty() { HANDLER_FAILED } else { reason };
        Self { reason: cut(reason, REASON), message, next: Next::Retry(None) }
    }

    /// The attempt failed, and so would every other.
    pub fn permanent(reason: &str, message: impl fmt::Display) -> Self {
        Self { next: Next::Bury, ..Self::new(reason, message) }
    }

    /// Hands the task back as if it had never been started: it is ready at once, and the attempt does not count.
    /// For a worker that finds that it cannot do this task, while another may.
    pub fn release() -> Self {
        Self { next: Next::Release(None), ..Self::new("RELEASED", "the worker handed the task back") }
    }

    /// Puts the task off for this long (at most 365 days), as if it had never been started: the attempt does not count, and
    /// its checkpoint stays. For a task that waits for something; only a deadline ends one that is put off for ever.
    pub fn snooze(wait: Duration) -> Self {
        let next = Next::Release(Some(wait.min(365 * DAY)));
        Self { next, ..Self::new("SNOOZED", "the worker put the task off") }
    }

    /// A snooze with a reason of its own, for metrics: the queue is told none.
    pub(crate) fn put_off(reason: &str, message: impl fmt::Display, wait: Duration) -> Self {
        Self { next: Next::Release(Some(wait)), ..Self::new(reason, message) }
    }

    /// A call of the mesh failed. Its reason is kept; what was denied, malformed or absent is permanent.
    pub fn call(status: &Status) -> Self {
        let message = format!("{}: {}", status.code().description(), status.message());
        let failure = Self::new(&reason_of(status), message);
        if is_permanent(status.code()) { Self { next: Next::Bury, ..failure } } else { failure }
    }

    /// Tries again after this long (at most 30 days) instead of the policy's backoff.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.next = Next::Retry(Some(wait.min(30 * DAY)));
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
        self.next == Next::Bury
    }

    /// True when the task is handed back, at once or later, and the attempt does not count.
    pub fn is_release(&self) -> bool {
        matches!(self.next, Next::Release(_))
    }

    /// What a service answered, whatever layers made of it.
    pub(crate) fn of(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => *failure,
            Err(error) => Self::new(HANDLER_FAILED, chain(error.as_ref())),
        }
    }

    pub(crate) fn into_outcome(self) -> settlement::Outcome {
        let (permanent, retry_after) = match self.next {
            Next::Release(wait) => {
                let delay = wait.and_then(|wait| wait.try_into().ok());
                return settlement::Outcome::Released(pb::Released { delay });
            }
            Next::Bury => (true, None),
            Next::Retry(wait) => (false, wait),
        };
        settlement::Outcome::Failed(pb::Failure {
            error: Some(pb::TaskError { reason: self.reason, message: self.message }),
            permanent,
            retry_after: retry_after.and_then(|wait| wait.try_into().ok()),
            traceparent: String::new(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::call(&status)
    }
}

/// Turns any error into a [`Failure`], for use before `?`.
pub trait OrFail<T> {
    /// The attempt failed with this reason, and may be tried again. The message tells the error and its sources.
    fn or_fail(self, reason: &str) -> Result<T, Failure>;
    /// The same, and every other attempt would fail, too.
    fn or_fail_for_good(self, reason: &str) -> Result<T, Failure>;
}

impl<T, E: Into<BoxError>> OrFail<T> for Result<T, E> {
    fn or_fail(self, reason: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(reason, chain(error.into().as_ref())))
    }

    fn or_fail_for_good(self, reason: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::permanent(reason, chain(error.into().as_ref())))
    }
}

/// An error and its sources.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Cuts at a character, and says so.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - 3).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &text[..end])
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

/// The reason in the details of a status, or else its code.
fn reason_of(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| !info.reason.is_empty());
    info.map_or_else(|| name(status.code()).to_owned(), |info| info.reason.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = Failure::new("R", "ä".repeat(3_000));
        assert!(failure.message().len() <= MESSAGE && failure.message().ends_with("ä…"));
    }

    #[test]
    fn a_failure_has_a_reason() {
        assert_eq!(Failure::new("", "why").reason(), HANDLER_FAILED);
    }

    #[test]
    fn denied_calls_are_permanent_and_unavailable_ones_are_not() {
        let denied = Failure::from(Status::permission_denied("no"));
        assert_eq!((denied.reason(), denied.is_permanent()), ("PERMISSION_DENIED", true));
        assert!(!Failure::from(Status::unavailable("away")).is_permanent());
    }

    #[test]
    fn foreign_errors_tell_their_sources_and_are_tried_again() {
        let error = std::io::Error::other(Failure::new("INNER", "why"));
        let failure = Failure::of(Box::new(error));
        assert_eq!((failure.reason(), failure.is_permanent()), ("HANDLER_FAILED", false));
        assert!(failure.message().contains("INNER: why"), "{failure}");
    }

    #[test]
    fn failure_that_went_through_layers_is_itself() {
        let failure = Failure::permanent("R", "m");
        assert_eq!(Failure::of(Box::new(failure.clone())), failure);
    }

    #[test]
    fn waits_are_no_longer_than_the_queue_takes() {
        let snoozed = Failure::snooze(Duration::MAX).into_outcome();
        let settlement::Outcome::Released(released) = snoozed else { panic!("a snooze is a release") };
        assert_eq!(released.delay.unwrap().seconds, 365 * 24 * 3_600);
        let retried = Failure::new("R", "m").retry_after(Duration::MAX).into_outcome();
        let settlement::Outcome::Failed(failed) = retried else { panic!("a retry is a failure") };
        assert_eq!(failed.retry_after.unwrap().seconds, 30 * 24 * 3_600);
    }

    #[test]
    fn any_error_becomes_a_failure() {
        let parsed = "x".parse::<u32>();
        let failure = parsed.clone().or_fail_for_good("NO_NUMBER").unwrap_err();
        assert_eq!((failure.reason(), failure.is_permanent()), ("NO_NUMBER", true));
        assert!(!parsed.or_fail("NO_NUMBER").unwrap_err().is_permanent());
    }
}
