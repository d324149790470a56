//! SPIFFE ids: who a caller is. See the SPIFFE-ID specification.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AgentId, Violation};

const RULE: &str = "must be spiffe://<trust domain>/<path>, at most 2,048 bytes of a-z A-Z 0-9 . _ - /";

/// Name of a trust domain, such as `nova.local`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Checks a name: 1 to 255 of `a-z 0-9 . _ -`.
    pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if (1..=255).contains(&value.len()) && value.chars().all(good) {
            return Ok(Self(value.to_owned()));
        }
        Err(Violation::new(field, format!("{value:?} must be 1 to 255 of a-z 0-9 . _ -")))
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("nova.local".to_owned())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TrustDomain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A SPIFFE id, `spiffe://<trust domain>/<path>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Checks an id.
    pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
        let violation = || Violation::new(field, format!("{value:?} {RULE}"));
        let rest = value.strip_prefix("spiffe://").ok_or_else(violation)?;
        let (domain, path) = rest.split_once('/').ok_or_else(violation)?;
        TrustDomain::parse(field, domain)?;
        if value.len() > 2_048 || !path.split('/').all(is_segment) {
            return Err(violation());
        }
        Ok(Self(value.to_owned()))
    }

    /// The id of `path` (such as `svc/queue`) in a trust domain.
    pub fn of(domain: &TrustDomain, field: &str, path: &str) -> Result<Self, Violation> {
        Self::parse(field, &format!("spiffe://{domain}/{path}"))
    }

    /// The id of an agent.
    pub fn agent(domain: &TrustDomain, agent: &AgentId) -> Self {
        Self(format!("spiffe://{domain}/agent/{agent}"))
    }

    /// The id of a daemon; `name` is one of the mesh's own names.
    pub fn service(domain: &TrustDomain, name: &'static str) -> Self {
        Self(format!("spiffe://{domain}/svc/{name}"))
    }

    /// Everything after the trust domain, such as `agent/orion`.
    pub fn path(&self) -> &str {
        self.parts().1
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.parts().0.to_owned())
    }

    /// The agent, when it is one.
    pub fn agent_id(&self) -> Option<AgentId> {
        AgentId::parse("agent", self.path().strip_prefix("agent/")?).ok()
    }

    /// The daemon's name, when it is one.
    pub fn service_name(&self) -> Option<&str> {
        self.path().strip_prefix("svc/")
    }

    fn parts(&self) -> (&str, &str) {
        self.0["spiffe://".len()..].split_once('/').expect("checked when it was made")
    }
}

fn is_segment(segment: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(good)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SpiffeId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_domain_and_a_path() {
        let id = SpiffeId::parse("id", "spiffe://nova.local/agent/orion").unwrap();
        assert_eq!(id.trust_domain().as_ref(), "nova.local");
        assert_eq!(id.path(), "agent/orion");
        assert_eq!(id.agent_id().unwrap().as_ref(), "orion");
    }

    #[test]
    fn anything_else_is_refused_with_its_field() {
        for bad in [
            "",
            "nova",
            "spiffe://",
            "spiffe://nova",
            "spiffe://Nova/a",
            "spiffe://n/a//b",
            "spiffe://n/../b",
        ] {
            assert_eq!(SpiffeId::parse("who", bad).unwrap_err().field, "who", "{bad:?}");
        }
    }
}
