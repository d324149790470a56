//! What producer and worker share: the task, its result, and how a mesh is reached.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use nova_client::{Credential, Credentials, Endpoints, Mesh};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The queue.
pub const QUEUE: &str = "words";
/// The kind of its tasks.
pub const KIND: &str = "words.count";

/// A text whose words are to be counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CountWords {
    /// The text.
    pub text: String,
    /// True: the first attempt fails, to show a retry.
    #[serde(default)]
    pub flaky: bool,
    /// Not to be counted until this long after it was stored, milliseconds.
    #[serde(default)]
    pub wait_ms: u64,
}

impl CountWords {
    /// The same text is the same task, however often it is sent: after a call without an answer, or from another producer.
    pub fn key(&self) -> String {
        format!("rust-{:x}", Sha256::digest(&self.text))
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Words in all.
    pub words: u64,
    /// The most frequent one, in lower case; the first by the alphabet when there are several.
    pub top: String,
    /// How often that occurs.
    pub times: u64,
}

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "an example has the machine's clock")]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Reaches the mesh that `nova up` started in `NOVA_HOME`, with the token in `NOVA_TOKEN`.
pub fn connect() -> anyhow::Result<Mesh> {
    nova_client::install_crypto_provider();
    let home = PathBuf::from(std::env::var("NOVA_HOME").context("NOVA_HOME is not set")?);
    let token = std::env::var("NOVA_TOKEN").context("NOVA_TOKEN is not set")?;
    let mesh = fs::read_to_string(home.join("mesh.json")).context("no mesh runs: try `nova up`")?;
    let roots = fs::read_to_string(home.join("operator/bundle.pem"))?;
    let mesh: MeshFile = serde_json::from_str(&mesh)?;
    let credential = Credential::token_from_pem(&roots, token.trim().to_owned())?;
    Ok(Mesh::new(mesh.endpoints, Credentials::new(credential)?)?)
}

/// What of `mesh.json` is needed here.
#[derive(Deserialize)]
struct MeshFile {
    endpoints: Endpoints,
}
