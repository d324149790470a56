//! What can go wrong in the policy daemon, and what a caller is told of it.

use std::time::Duration;

use nova_authz::{CompileError, Refusal};
use nova_rpc::Reason;
use nova_types::Violation;

/// Why the policy daemon could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The module does not compile.
    #[error("the module is refused: {0}")]
    BadModule(CompileError),
    /// The revision that would result may not be activated.
    #[error("the revision is refused: {0}")]
    BadRevision(Refusal),
    /// There would be more modules or text than a revision may have.
    #[error("a revision has at most {modules} modules and {bytes} bytes")]
    TooLarge {
        /// Most modules.
        modules: usize,
        /// Most bytes of all modules together.
        bytes: usize,
    },
    /// No such module.
    #[error("there is no module {0:?}")]
    NoModule(String),
    /// No such decision.
    #[error("there is no decision {0}")]
    NoDecision(String),
    /// A revision that is not kept any more.
    #[error("revision {0} is not kept any more")]
    NoRevision(String),
    /// Too many watch at the same time.
    #[error("{0} daemons watch already")]
    TooManyWatchers(usize),
    /// Others change the policy all the time.
    #[error("the policy was changed by somebody else meanwhile")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] nova_storage::Error),
    /// What is stored makes no sense.
    #[error("the stored {what} is damaged: {detail}")]
    Damaged {
        /// What was read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn damaged(what: impl Into<String>, detail: impl ToString) -> Self {
        Self::Damaged { what: what.into(), detail: detail.to_string() }
    }
}

impl From<nova_storage::CommitError> for Error {
    fn from(error: nova_storage::CommitError) -> Self {
        match error {
            nova_storage::CommitError::Conflict { .. } => Self::Contended,
            nova_storage::CommitError::Store(error) => Self::Store(error),
        }
    }
}

impl From<Error> for nova_rpc::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::BadModule(place) => bad_module(&place),
            Error::BadRevision(_) => Self::precondition(Reason::PolicyInvalid, message),
            Error::TooLarge { .. } => Self::invalid(Violation::new("module", message)),
            Error::NoModule(id) => Self::not_found("nova.policy.v1.PolicyModule", id),
            Error::NoDecision(id) => Self::not_found("nova.policy.v1.Decision", id),
            Error::NoRevision(revision) => Self::not_found("nova.policy.v1.Snapshot", revision),
            Error::TooManyWatchers(_) => Self::exhausted(Reason::Overloaded, message, Duration::from_secs(1)),
            Error::Contended => Self::unavailable("policy", message),
            Error::Store(error) => of_store(&error),
            Error::Damaged { .. } => Self::internal(&error),
        }
    }
}

fn bad_module(place: &CompileError) -> nova_rpc::Error {
    nova_rpc::Error::invalid_because(Reason::PolicyInvalid, Violation::new("module.rego", place.to_string()))
        .with_metadata("module", &place.module)
        .with_metadata("line", place.line)
        .with_metadata("column", place.column)
}

fn of_store(error: &nova_storage::Error) -> nova_rpc::Error {
    match error {
        nova_storage::Error::Overloaded { .. } => {
            nova_rpc::Error::exhausted(Reason::Overloaded, error.to_string(), Duration::from_millis(50))
        }
        retryable if retryable.is_retryable() => nova_rpc::Error::unavailable("store", retryable),
        other => nova_rpc::Error::internal(other),
    }
}
