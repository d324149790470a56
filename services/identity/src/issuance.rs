//! Who gets which certificate and which token.

use std::sync::Arc;
use std::time::Duration;

use nova_rpc::{Caller, Credential};
use nova_types::{AgentId, Clock, SpiffeId, Timestamp, TrustDomain, Violation, shown};

use crate::authority::{Authority, BearerToken, JOINING, X509Svid};
use crate::config::CertificateTerms;
use crate::error::Error;
use crate::records;
use crate::used_tokens::UsedTokens;

/// Roles that a token can carry.
const GRANTABLE: [&str; 4] = ["operator", "developer", "worker", "viewer"];
/// Roles that only a caller with a certificate grants.
const FOR_CERTIFIED_GRANTORS: [&str; 2] = ["operator", "developer"];
/// The mesh's own operator, whom the supervisor gives a certificate.
const OPERATOR: &str = "user/operator";
const ROLES_MAX: usize = 8;
/// A join token is noted this long when its end is not known.
const JOIN_TOKEN_MAX: Duration = Duration::from_secs(10 * 60);
const SUBJECT_MAX: usize = 63;

/// Issues certificates and tokens, by the rules that do not depend on policy.
#[derive(Clone, Debug)]
pub(crate) struct Issuance {
    authority: Arc<Authority>,
    terms: CertificateTerms,
    used: UsedTokens,
    clock: Arc<dyn Clock>,
}

impl Issuance {
    pub(crate) fn new(
        authority: Arc<Authority>,
        terms: CertificateTerms,
        used: UsedTokens,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, terms, used, clock }
    }

    /// The first certificate of a caller that shows a join token.
    pub(crate) async fn attest(&self, caller: &Caller, request: &[u8]) -> Result<X509Svid, Error> {
        let (Some(subject), Some(token), true) =
            (&caller.spiffe_id, &caller.token_id, caller.has_role(JOINING))
        else {
            return Err(Error::JoinTokenNeeded);
        };
        // Signed first: a bad request must not use the token up.
        let svid = self.sign(subject, request)?;
        self.used.claim(token, &records::fingerprint(request), self.end_of(caller)).await?;
        Ok(svid)
    }

    /// The next certificate of a caller that shows its present one.
    pub(crate) fn renew(&self, caller: &Caller, request: &[u8]) -> Result<X509Svid, Error> {
        match &caller.spiffe_id {
            Some(subject) if caller.token_id.is_none() => self.sign(subject, request),
            _ => Err(Error::CertificateNeeded),
        }
    }

    /// A token with which a process may attest itself once. It becomes a certificate that renews itself, so nobody
    /// gets it by a token, which ends; a daemon's is for operators alone.
    pub(crate) fn join_token(
        &self,
        caller: &Caller,
        subject: &str,
        ttl: Duration,
    ) -> Result<BearerToken, Error> {
        let id = subject_of(self.authority.trust_domain(), &["agent", "svc"], subject)?;
        if !is_certified(caller) {
            return Err(forbidden(caller, "create a join token by a token: it takes a certificate"));
        }
        if id.service_name().is_some() && !is_operator(caller) {
            return Err(forbidden(caller, "create a join token for a daemon: it takes an operator"));
        }
        Ok(self.authority.join_token(&id, self.clock.now(), ttl)?)
    }

    /// A bearer token for a worker or a user; only operators grant roles, and by a token none with which to grant
    /// or start more: it would live for ever.
    pub(crate) fn token(
        &self,
        caller: &Caller,
        subject: &str,
        roles: &[String],
        ttl: Duration,
    ) -> Result<BearerToken, Error> {
        let id = subject_of(self.authority.trust_domain(), &["worker", "user"], subject)
            .and_then(not_the_operator);
        let mut violations = nova_types::Violations::new();
        let id = violations.take(id);
        violations.take(check_roles(roles));
        let Some(id) = id else { return Err(violations.into()) };
        violations.finish()?;
        if !is_operator(caller) {
            return Err(forbidden(caller, "grant roles"));
        }
        let reserved = roles.iter().find(|role| FOR_CERTIFIED_GRANTORS.contains(&role.as_str()));
        if let Some(role) = reserved.filter(|_| !is_certified(caller)) {
            return Err(forbidden(
                caller,
                &format!("grant the role {role} by a token: it takes a certificate"),
            ));
        }
        Ok(self.authority.bearer_token(&id, roles, self.clock.now(), self.bounded(caller, ttl))?)
    }

    /// What verifies all that is issued here.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    fn sign(&self, subject: &SpiffeId, request: &[u8]) -> Result<X509Svid, Error> {
        let now = self.clock.now();
        Ok(self.authority.sign_csr(request, subject, &self.terms.dns_names, now, self.terms.lifetime)?)
    }

    /// No token that is got with a token outlives it.
    fn bounded(&self, caller: &Caller, ttl: Duration) -> Duration {
        if is_certified(caller) || caller.expires.is_none() {
            return ttl;
        }
        ttl.min(self.end_of(caller).since(self.clock.now()))
    }

    fn end_of(&self, caller: &Caller) -> Timestamp {
        let seconds = caller.expires.and_then(|seconds| i64::try_from(seconds).ok());
        let expires = seconds.map(|seconds| Timestamp::from_micros(seconds.saturating_mul(1_000_000)));
        expires.unwrap_or_else(|| self.clock.now() + JOIN_TOKEN_MAX)
    }
}

/// Operators, by role, or by the certificate that the supervisor gives the mesh's own operator.
/// A token proves no more than the roles in it.
fn is_operator(caller: &Caller) -> bool {
    let own = caller.token_id.is_none() && caller.spiffe_id.as_ref().is_some_and(|id| id.path() == OPERATOR);
    own || caller.has_role("operator")
}

/// Whether the caller holds the key of a certificate.
fn is_certified(caller: &Caller) -> bool {
    caller.credential() == Credential::Certificate
}

/// The mesh's own operator is known by its certificate; nothing else may bear its name.
fn not_the_operator(id: SpiffeId) -> Result<SpiffeId, Violation> {
    let rule = || format!("must not be {OPERATOR}: the mesh's operator has a certificate, and no token");
    if id.path() == OPERATOR { Err(Violation::new("subject", rule())) } else { Ok(id) }
}

fn forbidden(caller: &Caller, what: &str) -> Error {
    Error::Forbidden { caller: caller.name().to_owned(), what: what.to_owned() }
}

/// The id of `path`, which must be one of `kinds`, a slash, and a name.
fn subject_of(domain: &TrustDomain, kinds: &[&str], path: &str) -> Result<SpiffeId, Violation> {
    let rule = || {
        let kinds = kinds.join("/… or ");
        Violation::new(
            "subject",
            format!(
                "{} must be {kinds}/…, with a name of 1 to {SUBJECT_MAX} of a-z A-Z 0-9 . _ -",
                shown(path)
            ),
        )
    };
    let (kind, name) = path.split_once('/').ok_or_else(rule)?;
    if !kinds.contains(&kind) || name.contains('/') || name.len() > SUBJECT_MAX {
        return Err(rule());
    }
    if kind == "agent" {
        AgentId::parse("subject", name)?;
    }
    SpiffeId::of(domain, "subject", path).map_err(|_| rule())
}

fn check_roles(roles: &[String]) -> Result<(), Violation> {
    if !(1..=ROLES_MAX).contains(&roles.len()) {
        return Err(Violation::new("roles", format!("{} entries must be 1 to {ROLES_MAX}", roles.len())));
    }
    match roles.iter().position(|role| !GRANTABLE.contains(&role.as_str())) {
        None => Ok(()),
        Some(index) => {
            let rule = format!("{} must be one of {}", shown(&roles[index]), GRANTABLE.join(", "));
            Err(Violation::new(format!("roles[{index}]"), rule))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_kind_and_one_name() {
        let domain = TrustDomain::default();
        let agent = subject_of(&domain, &["agent", "svc"], "agent/orion").unwrap();
        assert_eq!(agent.as_ref(), "spiffe://nova.local/agent/orion");
        for bad in ["", "agent", "agent/", "agent/Orion", "user/ada", "svc/a/b", "svc/ü", "svc/.."] {
            assert_eq!(subject_of(&domain, &["agent", "svc"], bad).unwrap_err().field, "subject", "{bad:?}");
        }
    }

    #[test]
    fn a_token_for_the_operator_carries_no_more_than_its_roles() {
        let id = SpiffeId::parse("id", "spiffe://nova.local/user/operator").unwrap();
        let certified = Caller { spiffe_id: Some(id), ..Caller::default() };
        let by_token = Caller { token_id: Some("t".to_owned()), ..certified.clone() };
        assert!(is_operator(&certified));
        assert!(!is_operator(&by_token));
    }

    #[test]
    fn only_known_roles_are_granted() {
        let roles = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(check_roles(&roles(&["worker", "viewer"])).is_ok());
        assert_eq!(check_roles(&roles(&["worker", "daemon"])).unwrap_err().field, "roles[1]");
        assert!(check_roles(&[]).is_err());
        assert!(check_roles(&roles(&["worker"; 9])).is_err());
    }
}
