//! What a parent process hands to a daemon or an agent that it starts.
//!
//! It is one line of JSON on the child's standard input: a descriptor, so that the
//! one-time token stands neither in argv nor in the environment. The pipe then stays open
//! as a lifeline: the child reads its end when the parent is gone, however that ended.

use std::path::Path;

use nova_client::Endpoints;
use nova_types::TrustDomain;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin};
use tokio_util::sync::CancellationToken;

/// Longest line that is taken, in bytes.
const LONGEST: u64 = 1 << 20;

/// The line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// Whom the token lets the child become: path of the SPIFFE id, such as `agent/orion`.
    pub subject: String,
    /// One-time token for `IdentityService.AttestWorkload`.
    pub join_token: String,
    /// Trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// Roots of the mesh, PEM.
    pub bundle_pem: String,
    /// Keys that verify the mesh's bearer tokens, a JWK set.
    pub jwks: String,
    /// Where the daemons are.
    pub endpoints: Endpoints,
    /// OTLP collector; none means that traces stay here.
    pub otlp: Option<Otlp>,
}

/// An OTLP/gRPC collector.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Its URL, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// Bearer token that it wants to be shown; none where it takes from everybody.
    #[serde(default)]
    pub token: Option<String>,
}

/// A handoff that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// It cannot be read.
    #[error("the handoff cannot be read")]
    Read(#[from] std::io::Error),
    /// It is not the JSON that it should be.
    #[error("the handoff is not what it should be")]
    Parse(#[from] serde_json::Error),
}

/// The other end of the parent's pipe.
#[derive(Debug)]
pub struct Lifeline(BufReader<Stdin>);

impl Lifeline {
    /// Fires `gone` when the parent has ended.
    pub async fn watch(mut self, gone: CancellationToken) {
        let mut rest = [0; 256];
        while matches!(self.0.read(&mut rest).await, Ok(count) if count > 0) {}
        tracing::info!("the parent process is gone");
        gone.cancel();
    }
}

impl Handoff {
    /// Reads the line from standard input, and keeps the pipe.
    pub async fn from_stdin() -> Result<(Self, Lifeline), HandoffError> {
        let mut stdin = BufReader::new(tokio::io::stdin());
        let mut line = String::new();
        (&mut stdin).take(LONGEST).read_line(&mut line).await?;
        Ok((serde_json::from_str(&line)?, Lifeline(stdin)))
    }

    /// Reads the same JSON from a file.
    pub fn from_file(path: &Path) -> Result<Self, HandoffError> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// The line as it is written, with its end.
    pub fn to_line(&self) -> String {
        let json = serde_json::to_string(self).expect("text and maps of text");
        format!("{json}\n")
    }
}
