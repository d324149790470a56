//! The one error that a call ends with, and its form on the wire: `google.rpc.Status`
//! with ErrorInfo, BadRequest, RetryInfo, ResourceInfo and RequestInfo (AIP-193).

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use nova_types::{DecisionId, Violations};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{Reason, bounded, trace};

const DOMAIN: &str = "nova";

/// Why a call failed, for the caller. Internal detail stays in the log.
#[derive(Debug, Clone)]
pub struct Error(Box<Content>);

#[derive(Debug, Clone)]
struct Content {
    code: Code,
    reason: Reason,
    message: String,
    violations: Violations,
    retry_after: Option<Duration>,
    resource: Option<(&'static str, String)>,
    metadata: HashMap<String, String>,
}

impl Error {
    fn new(code: Code, reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Content {
            code,
            reason,
            message: message.into(),
            violations: Violations::new(),
            retry_after: None,
            resource: None,
            metadata: HashMap::new(),
        }))
    }

    /// INVALID_ARGUMENT: these fields break these rules.
    pub fn invalid(violations: impl Into<Violations>) -> Self {
        let violations = violations.into();
        let mut error = Self::new(Code::InvalidArgument, Reason::InvalidArgument, violations.to_string());
        error.0.violations = violations;
        error
    }

    /// INVALID_ARGUMENT with another reason than the common one.
    pub fn invalid_because(reason: Reason, violations: impl Into<Violations>) -> Self {
        let mut error = Self::invalid(violations);
        error.0.reason = reason;
        error
    }

    /// INVALID_ARGUMENT: the request is no message of the contract.
    pub(crate) fn unreadable(why: &str) -> Self {
        let message = format!("the request cannot be read: {why}");
        Self::new(Code::InvalidArgument, Reason::InvalidArgument, message)
    }

    /// NOT_FOUND: no resource of this type (`nova.queue.v1.Task`) has this name.
    pub fn not_found(resource_type: &'static str, name: impl fmt::Display) -> Self {
        let kind = resource_type.rsplit('.').next().map(words).unwrap_or_default();
        Self::new(Code::NotFound, Reason::NotFound, format!("there is no {kind} {name}"))
            .with_resource(resource_type, name)
    }

    /// ALREADY_EXISTS: a resource of this name is there and differs.
    pub fn already_exists(
        resource_type: &'static str,
        name: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Code::AlreadyExists, Reason::AlreadyExists, message).with_resource(resource_type, name)
    }

    /// FAILED_PRECONDITION: not in this state.
    pub fn precondition(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// ABORTED: another writer was faster, or used the same key for something else.
    pub fn aborted(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Code::Aborted, reason, message)
    }

    /// RESOURCE_EXHAUSTED: try again after `retry_after`.
    pub fn exhausted(reason: Reason, message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(Code::ResourceExhausted, reason, message);
        error.0.retry_after = Some(retry_after);
        error
    }

    /// UNAVAILABLE: `what` cannot be reached; safe to try again.
    pub fn unavailable(what: &str, message: impl fmt::Display) -> Self {
        let mut error = Self::new(Code::Unavailable, Reason::Unavailable, format!("{what}: {message}"));
        error.0.retry_after = Some(Duration::from_millis(100));
        error.with_metadata("dependency", what)
    }

    /// UNAVAILABLE: policy has not decided, and nothing was done.
    pub fn policy_unavailable(why: impl Into<String>) -> Self {
        let mut error = Self::new(Code::Unavailable, Reason::PolicyUnavailable, why);
        error.0.retry_after = Some(Duration::from_millis(50));
        error
    }

    /// OUT_OF_RANGE.
    pub fn out_of_range(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Code::OutOfRange, reason, message)
    }

    /// UNAUTHENTICATED: who are you?
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, Reason::Unauthenticated, message)
    }

    /// PERMISSION_DENIED: the decision's id is all that the caller is told.
    pub fn denied(decision: DecisionId) -> Self {
        let message =
            format!("policy denies this call; `nova policy explain {decision}` tells an operator why");
        Self::new(Code::PermissionDenied, Reason::PermissionDenied, message)
            .with_metadata("decision_id", decision)
    }

    /// PERMISSION_DENIED by a rule of the service itself, which the message states.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, Reason::PermissionDenied, message)
    }

    /// DEADLINE_EXCEEDED.
    pub fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, Reason::DeadlineExceeded, "the call's deadline has passed")
    }

    /// INTERNAL: the detail goes to the log, the caller gets the trace id to find it by.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let chain = std::iter::successors(Some(error), |error| error.source());
        let detail = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        tracing::error!(error = detail, "a call failed");
        Self::new(Code::Internal, Reason::Internal, "an internal error; the daemon's log has the detail")
    }

    /// Adds a fact for programs, such as `legal_next: idle,error`.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Names the resource that the error is about.
    #[must_use]
    pub fn with_resource(mut self, resource_type: &'static str, name: impl fmt::Display) -> Self {
        self.0.resource = Some((resource_type, name.to_string()));
        self
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::invalid(violations)
    }
}

impl From<nova_types::Violation> for Error {
    fn from(violation: nova_types::Violation) -> Self {
        Self::invalid(violation)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut content = *error.0;
        let (violations, left_out) = bounded::violations(content.violations);
        if left_out > 0 {
            content.metadata.insert("violations_left_out".to_owned(), left_out.to_string());
        }
        let mut details = ErrorDetails::with_error_info(content.reason.as_str(), DOMAIN, content.metadata);
        for violation in violations {
            details.add_bad_request_violation(violation.field, violation.rule);
        }
        if content.retry_after.is_some() {
            details.set_retry_info(content.retry_after);
        }
        if let Some((kind, name)) = content.resource {
            details.set_resource_info(kind, name, "", "");
        }
        if let Some(trace_id) = trace::current_trace_id() {
            let shown = trace::recorded_trace_id().map(|id| format!("nova trace {id}")).unwrap_or_default();
            details.set_request_info(trace_id, shown);
        }
        Status::with_error_details(content.code, bounded::message(&content.message), details)
    }
}

/// `PolicyModule` as `policy module`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use nova_types::Violation;

    use super::*;

    #[test]
    fn a_bad_field_is_named_with_its_rule() {
        let status = Status::from(Error::invalid(Violation::new("tasks[0].queue", "must not be empty")));
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "tasks[0].queue");
        assert_eq!(details.error_info().unwrap().reason, "INVALID_ARGUMENT");
        assert_eq!(details.error_info().unwrap().domain, "nova");
    }

    #[test]
    fn what_is_not_there_is_named_in_words() {
        let status = Status::from(Error::not_found("nova.policy.v1.PolicyModule", "base"));
        assert_eq!(status.message(), "there is no policy module base");
    }

    #[test]
    fn a_full_buffer_says_when_to_come_back() {
        let error = Error::exhausted(Reason::Overloaded, "the buffer is full", Duration::from_millis(20));
        let details = Status::from(error).get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(20)));
    }
}
