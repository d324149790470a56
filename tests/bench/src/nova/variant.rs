//! How Nova is measured: as it is by default, without TLS, with every call traced. Who calls is the same each time.

use nova_client::{Endpoints, Mesh};
use nova_testkit::Nova;

use super::worker_process::Orders;
use crate::scenarios::Scenario;

/// How long tokens are good: longer than any run.
const TTL: &str = "24h";

/// What differs from one run over a store to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Mutual TLS, no traces.
    Tls,
    /// No TLS, on loopback; no traces.
    Plaintext,
    /// Mutual TLS, every call traced.
    Traced,
}

impl Variant {
    /// Whether it tells something of a scenario; in the short form only what is about it.
    pub(crate) fn measures(self, scenario: Scenario, short: bool) -> bool {
        match (self, scenario) {
            (Self::Tls, _) | (Self::Traced, Scenario::Traced) | (Self::Plaintext, Scenario::Unary) => true,
            (_, Scenario::Batched) | (Self::Traced, Scenario::Unary) => !short,
            (Self::Plaintext, Scenario::Latency) => !short,
            _ => false,
        }
    }

    /// Further arguments of `nova up`.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        if self == Self::Plaintext { &["--plaintext"] } else { &[] }
    }

    /// How calls are secured, for people.
    pub(super) fn security(self) -> &'static str {
        if self == Self::Plaintext { "no TLS, bearer tokens" } else { "mTLS" }
    }

    /// What is traced, for people.
    pub(super) fn traces(self) -> &'static str {
        if self == Self::Traced { "every call traced" } else { "no traces" }
    }

    /// So many connections of an operator: with its certificate, or with a token where nobody could see that.
    pub(super) fn producers(self, nova: &Nova, connections: usize) -> Vec<Mesh> {
        match self {
            Self::Plaintext => with_token(nova, "user/bench", "operator", self.endpoints(nova), connections),
            Self::Tls | Self::Traced => (0..connections).map(|_| nova.mesh()).collect(),
        }
    }

    /// So many connections of a worker: operators may not work.
    pub(super) fn workers(self, nova: &Nova, connections: usize) -> Vec<Mesh> {
        with_token(nova, "worker/bench", "worker", self.endpoints(nova), connections)
    }

    /// What a worker process is told: the same as such a worker.
    pub(super) fn orders(self, nova: &Nova, queue: &str) -> anyhow::Result<Orders> {
        Ok(Orders {
            endpoints: self.endpoints(nova),
            roots: std::fs::read_to_string(nova.home().join("operator/bundle.pem"))?,
            token: token(nova, "worker/bench", "worker"),
            queue: queue.to_owned(),
            collector: None,
        })
    }

    fn endpoints(self, nova: &Nova) -> Endpoints {
        if self == Self::Plaintext { nova.plaintext_endpoints() } else { nova.endpoints() }
    }
}

fn token(nova: &Nova, who: &str, role: &str) -> String {
    nova.run(&["identity", "token", who, "--role", role, "--ttl", TTL]).ok().trim().to_owned()
}

fn with_token(nova: &Nova, who: &str, role: &str, endpoints: Endpoints, connections: usize) -> Vec<Mesh> {
    let token = token(nova, who, role);
    let connect = |_| nova.bearer(Some(token.clone()), endpoints.clone());
    (0..connections).map(connect).collect()
}
