//! Why the daemon did not do what it was asked, and how each reason reaches the caller.

use std::time::Duration;

use nova_rpc::Reason;
use nova_types::{AgentId, RunId, SessionId, StepId, Violation, Violations};

use crate::agent::AgentState;
use crate::run::{MeshError, StateError};
use crate::session::SessionState;

/// Every way in which a call can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields break rules.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// No such agent.
    #[error("there is no agent {0}")]
    AgentUnknown(AgentId),
    /// No such session.
    #[error("there is no session {0}")]
    SessionUnknown(SessionId),
    /// No such run.
    #[error("there is no run {0}")]
    RunUnknown(RunId),
    /// No such step of the run.
    #[error("the run has no step {0}")]
    StepUnknown(StepId),
    /// The state machine of agents has no such move.
    #[error("an agent that is {from} cannot become {to}; it can become {}", names(legal))]
    IllegalAgentMove {
        /// Where it stands.
        from: AgentState,
        /// Where it should go.
        to: AgentState,
        /// Where it can go.
        legal: &'static [AgentState],
    },
    /// The state machine of sessions has no such move.
    #[error("a session that is {from} cannot become {to}; it can become {}", names(legal))]
    IllegalSessionMove {
        /// Where it stands.
        from: SessionState,
        /// Where it should go.
        to: SessionState,
        /// Where it can go.
        legal: &'static [SessionState],
    },
    /// The resource changed since its etag was read.
    #[error("{what} has the etag {found:?}, not {wanted:?}: read it again")]
    EtagMismatch {
        /// The resource.
        what: String,
        /// Its etag.
        found: String,
        /// The etag that was asked for.
        wanted: String,
    },
    /// The request_id was used with another body.
    #[error("the request_id {0:?} was used with another body")]
    RequestReused(String),
    /// A rule of the service itself.
    #[error("{caller} may not {what}")]
    Forbidden {
        /// Who asked.
        caller: String,
        /// For what.
        what: String,
    },
    /// As many runs are open as may be.
    #[error("{0} runs are open already, as many as may be")]
    TooManyRuns(usize),
    /// As many runs are watched as may be.
    #[error("{0} watches of runs are open already, as many as may be; close one, or raise max_watches")]
    TooManyWatches(usize),
    /// The mesh was brought up to be read.
    #[error("this mesh was brought up only to read its records; `nova up` brings up one that runs plans")]
    RunsNotDriven,
    /// Somebody else drives the run, or changes the record all the time.
    #[error("{0:?} is changed by others all the time")]
    Contended(String),
    /// The call was made under a lease that is lost.
    #[error(transparent)]
    LeaseLost(nova_rpc::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] nova_storage::Error),
    /// A record is not what this daemon wrote.
    #[error("the record {key} cannot be read")]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A log adds up to nothing.
    #[error("the log of run {run} cannot be read")]
    DamagedLog {
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        source: StateError,
    },
    /// Another daemon did not do its part.
    #[error(transparent)]
    Mesh(#[from] MeshError),
}

fn names<S: ToString>(states: &[S]) -> String {
    match states {
        [] => "nothing else".to_owned(),
        states => states.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(violation.into())
    }
}

impl From<Error> for nova_rpc::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(violations) => Self::invalid(violations),
            Error::AgentUnknown(id) => Self::not_found("nova.lifecycle.v1.Agent", id),
            Error::SessionUnknown(id) => Self::not_found("nova.lifecycle.v1.Session", id),
            Error::StepUnknown(id) => Self::not_found("nova.lifecycle.v1.Step", id),
            Error::RunUnknown(id) => Self::not_found("nova.lifecycle.v1.Run", id),
            Error::IllegalAgentMove { legal, .. } => illegal(message, &names(legal)),
            Error::IllegalSessionMove { legal, .. } => illegal(message, &names(legal)),
            Error::EtagMismatch { .. } => Self::aborted(Reason::EtagMismatch, message),
            Error::RequestReused(_) => Self::aborted(Reason::IdempotencyMismatch, message),
            Error::Forbidden { .. } => Self::forbidden(message),
            Error::TooManyRuns(_) | Error::TooManyWatches(_) => {
                Self::exhausted(Reason::Overloaded, message, Duration::from_secs(1))
            }
            Error::RunsNotDriven => Self::precondition(Reason::ReadOnly, message),
            Error::LeaseLost(error) => error,
            Error::Contended(_) => Self::unavailable("store", message),
            Error::Store(error) => of_store(&error),
            Error::Mesh(error) => Self::unavailable("mesh", error),
            Error::Damaged { .. } | Error::DamagedLog { .. } => Self::internal(&error),
        }
    }
}

fn illegal(message: String, legal: &str) -> nova_rpc::Error {
    nova_rpc::Error::precondition(Reason::IllegalTransition, message).with_metadata("legal_next", legal)
}

fn of_store(error: &nova_storage::Error) -> nova_rpc::Error {
    match error {
        nova_storage::Error::Overloaded { .. } => {
            nova_rpc::Error::exhausted(Reason::Overloaded, error.to_string(), Duration::from_millis(50))
        }
        error if error.is_retryable() => nova_rpc::Error::unavailable("store", error),
        error => nova_rpc::Error::internal(error),
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        nova_rpc::Error::from(error).into()
    }
}
