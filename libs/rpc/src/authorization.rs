//! What a caller may do.

use std::fmt::Debug;

use nova_types::{DecisionId, SpiffeId};

use crate::{Credential, Error};

/// What a policy is asked about a call.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// SPIFFE id of the caller; none is anonymous.
    pub subject: Option<&'a SpiffeId>,
    /// Roles of the caller.
    pub roles: &'a [String],
    /// What proved who calls.
    pub credential: Credential,
    /// Daemon that serves the call, such as `queue`.
    pub service: &'a str,
    /// Full method without the leading slash, `nova.queue.v1.QueueService/Enqueue`.
    pub method: &'a str,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The call may proceed.
    Allow,
    /// It may not; the id leads an operator to the reason.
    Deny(DecisionId),
    /// There is nothing to decide with yet, or no time was left for it; the caller should try again.
    Undecided(String),
}

/// Decides, in process. The decision is a span of its own, and is recorded.
pub trait Authorizer: Send + Sync + Debug {
    /// Decides one call.
    fn authorize(&self, question: &Question<'_>) -> Decision;
}

/// The error of a call that may not proceed.
pub(crate) fn enforce(decision: Decision) -> Result<(), Error> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Deny(id) => Err(Error::denied(id)),
        Decision::Undecided(why) => Err(Error::policy_unavailable(why)),
    }
}
