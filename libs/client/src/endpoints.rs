//! Where the daemons are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Address of each daemon, such as `https://127.0.0.1:7101`; `http://` is for a daemon that listens
/// without TLS on loopback, and for tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// The queue daemon.
    pub queue: Endpoint,
    /// The lifecycle daemon.
    pub lifecycle: Endpoint,
    /// The policy daemon.
    pub policy: Endpoint,
    /// The identity and memory daemon.
    pub identity: Endpoint,
    /// The node agent.
    pub node: Endpoint,
}

impl Default for Endpoints {
    fn default() -> Self {
        let at = |port: u16| Endpoint(format!("https://127.0.0.1:{port}"));
        Self { queue: at(7101), lifecycle: at(7102), policy: at(7103), identity: at(7104), node: at(7105) }
    }
}

/// A URL with scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Endpoint(pub String);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
