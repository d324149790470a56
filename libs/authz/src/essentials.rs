//! What every revision must allow, so that a bad one can still be replaced: the operator changes the policy, processes
//! join the mesh, daemons follow the policy and report, and certificates are renewed.

use nova_rpc::Credential;
use nova_rpc::authentication::roles_of;
use nova_types::{SpiffeId, TrustDomain};

use crate::{Asked, Engine};

const DAEMONS: [&str; 5] = ["queue", "lifecycle", "policy", "identity", "node"];
/// Stands for every agent.
const AN_AGENT: &str = "agent/any";
const JOINING: &str = "joining";

const ATTEST: &str = "nova.identity.v1.IdentityService/AttestWorkload";
const RENEW: &str = "nova.identity.v1.IdentityService/RenewX509";
const OF_THE_OPERATOR: [&str; 4] = [
    "nova.policy.v1.PolicyService/PutPolicy",
    "nova.policy.v1.PolicyService/DeletePolicy",
    "nova.policy.v1.PolicyService/GetPolicyStatus",
    "nova.policy.v1.PolicyService/ListPolicies",
];
const OF_A_DAEMON: [&str; 3] =
    ["nova.policy.v1.PolicyService/WatchSnapshots", "nova.policy.v1.PolicyService/ReportDecisions", RENEW];

/// A call that a revision denies, and without which the mesh could not be mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{principal}{shown} must be allowed to call {method}, else nothing could be mended: {why}")]
pub struct LockedOut {
    /// Path of the caller's id, such as `user/operator`.
    pub principal: String,
    /// Nothing, or what is special about how it calls.
    shown: &'static str,
    /// Full method.
    pub method: String,
    /// Why the revision denies it.
    pub why: String,
}

/// Asks all of it. The first that is denied is the error.
pub fn check_essentials(engine: &Engine, domain: &TrustDomain) -> Result<(), LockedOut> {
    questions(domain).iter().try_for_each(|asked| {
        let answer = engine.evaluate(asked);
        if answer.allow { Ok(()) } else { Err(locked_out(asked, &answer.why)) }
    })
}

fn locked_out(asked: &Asked, why: &str) -> LockedOut {
    LockedOut {
        principal: asked.principal(),
        shown: if asked.credential == Credential::Token { " with a join token" } else { "" },
        method: asked.method.clone(),
        why: why.to_owned(),
    }
}

fn questions(domain: &TrustDomain) -> Vec<Asked> {
    let mut questions = Vec::new();
    questions.extend(OF_THE_OPERATOR.map(|method| certified(domain, "user/operator", method)));
    for principal in DAEMONS.map(|name| format!("svc/{name}")) {
        questions.push(joining(domain, &principal));
        questions.extend(OF_A_DAEMON.map(|method| certified(domain, &principal, method)));
    }
    questions.push(joining(domain, AN_AGENT));
    questions.push(certified(domain, AN_AGENT, RENEW));
    questions
}

fn certified(domain: &TrustDomain, principal: &str, method: &str) -> Asked {
    let id = SpiffeId::of(domain, "subject", principal).expect("the principals above have good paths");
    Asked {
        subject: id.to_string(),
        roles: roles_of(&id),
        service: method.split('.').nth(1).unwrap_or_default().to_owned(),
        method: method.to_owned(),
        ..Asked::default()
    }
    .sorted()
}

fn joining(domain: &TrustDomain, principal: &str) -> Asked {
    let roles = vec![JOINING.to_owned()];
    Asked { roles, credential: Credential::Token, ..certified(domain, principal, ATTEST) }
}
