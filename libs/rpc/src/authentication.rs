//! Who calls.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use http::request::Parts;
use nova_types::{AgentId, SpiffeId};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What proved who calls. A token proves no more than the roles in it; what follows from the id alone is for who holds
/// the key of its certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The certificate of the connection; also of a caller that shows nothing, and so has no id.
    #[default]
    Certificate,
    /// A bearer token.
    Token,
}

impl Credential {
    /// Its name for policies: `certificate` or `token`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }
}

/// The verified caller of an RPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// SPIFFE id; none for a caller that shows nothing.
    pub spiffe_id: Option<SpiffeId>,
    /// Roles, from the kind of the id, or from the token.
    pub roles: Vec<String>,
    /// Id of the bearer token (`jti`), when one was used.
    pub token_id: Option<String>,
    /// When the identity ends, seconds since the epoch; open streams end with it.
    pub expires: Option<u64>,
}

impl Caller {
    /// The agent that calls, when it is one.
    pub fn agent_id(&self) -> Option<AgentId> {
        self.spiffe_id.as_ref()?.agent_id()
    }

    /// What proved who it is.
    pub fn credential(&self) -> Credential {
        if self.token_id.is_some() { Credential::Token } else { Credential::Certificate }
    }

    /// The SPIFFE id, or `anonymous`.
    pub fn name(&self) -> &str {
        self.spiffe_id.as_ref().map_or("anonymous", AsRef::as_ref)
    }

    /// Whether it has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}

/// Roles that follow from an id alone, for who shows its certificate: a daemon is `daemon` and its own name, an agent
/// `agent`, a worker `worker`; a user has those that policy data binds.
pub fn roles_of(id: &SpiffeId) -> Vec<String> {
    match id.path().split_once('/') {
        Some(("svc", name)) => vec!["daemon".to_owned(), name.to_owned()],
        Some((kind @ ("agent" | "worker"), _)) => vec![kind.to_owned()],
        _ => Vec::new(),
    }
}

/// Establishes the caller of a request.
pub trait Authenticator: Send + Sync + Debug {
    /// The caller, or UNAUTHENTICATED for a proof that does not hold. No proof at all is
    /// an anonymous caller, which policy then denies.
    fn authenticate(&self, request: &Parts) -> Result<Arc<Caller>, Error>;

    /// For how long the caller's identity is still good; none when it does not end. Its open streams end then.
    fn good_for(&self, caller: &Caller) -> Option<Duration> {
        let _unending = caller;
        None
    }
}

/// The caller of a request that has passed the guard.
pub fn caller<T>(request: &tonic::Request<T>) -> Arc<Caller> {
    caller_in(request.extensions())
}

fn caller_in(extensions: &Extensions) -> Arc<Caller> {
    extensions.get::<Arc<Caller>>().cloned().unwrap_or_default()
}
