//! Why the daemon did not do what it was asked, and how each reason reaches the caller.

use nova_rpc::Reason;
use nova_types::{AgentId, MemoryId, Namespace, RequestId, Violation, Violations};

use crate::authority::AuthorityError;

/// Every way in which a call can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Invalid(#[from] Violations),
    #[error("attestation needs a join token as the bearer token")]
    JoinTokenNeeded,
    #[error("the join token {0} was used with another key; ask for a new one")]
    JoinTokenUsed(String),
    #[error("renewal needs the present certificate of the caller, not a token")]
    CertificateNeeded,
    #[error("{caller} may not {what}")]
    Forbidden { caller: String, what: String },
    #[error("there is no agent {agent} in the namespace {namespace}")]
    AgentUnknown { namespace: Namespace, agent: AgentId },
    #[error("there is no memory {memory} in the namespace {namespace}")]
    MemoryUnknown { namespace: Namespace, memory: MemoryId },
    #[error("the request_id {0} was used for another memory, or by another author")]
    RequestReused(RequestId),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Store(#[from] nova_storage::Error),
    #[error("the record {key} cannot be read")]
    Damaged {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    LeaseLost(nova_rpc::Error),
    #[error(
        "the store belongs to another mesh, whose root certificate has the SHA-256 {owner}, while ours has {ours}: \
         give each mesh a store of its own, such as another database of the Redis, or the home of the mesh that owns it"
    )]
    ForeignStore { owner: String, ours: String },
    #[error("{0:?} is changed by others all the time")]
    Contended(String),
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
            Error::Authority(AuthorityError::Request(rule)) => Self::invalid(Violation::new("csr", rule)),
            Error::JoinTokenNeeded | Error::CertificateNeeded => Self::unauthenticated(message),
            Error::JoinTokenUsed(_) => Self::precondition(Reason::TokenUsed, message),
            Error::Forbidden { .. } => Self::forbidden(message),
            Error::AgentUnknown { agent, .. } => Self::not_found("nova.identity.v1.AgentIdentity", agent),
            Error::MemoryUnknown { memory, .. } => Self::not_found("nova.memory.v1.Memory", memory),
            Error::RequestReused(_) => Self::aborted(Reason::IdempotencyMismatch, message),
            Error::LeaseLost(error) => error,
            Error::Contended(_) => Self::unavailable("store", message),
            Error::Store(error) => of_store(&error),
            Error::Authority(_) | Error::Damaged { .. } | Error::ForeignStore { .. } => {
                Self::internal(&error)
            }
        }
    }
}

fn of_store(error: &nova_storage::Error) -> nova_rpc::Error {
    const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);
    match error {
        nova_storage::Error::Overloaded { .. } => {
            nova_rpc::Error::exhausted(Reason::Overloaded, error.to_string(), RETRY_AFTER)
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
