//! What a command asks its supervisor for: one line of JSON on standard input, since the URL of a store may
//! hold a password, and argv is for everybody to read.

use std::io::{self, BufRead as _};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// `sqlite` or a Redis URL.
    pub(crate) store: String,
    /// Collector that spans are forwarded to.
    pub(crate) otlp: Option<String>,
    /// Daemons listen without TLS, too.
    pub(crate) plaintext: bool,
    /// The mesh ends when standard input ends.
    pub(crate) lifeline: bool,
    /// Only to read records: runs are not driven.
    pub(crate) reading: bool,
}

impl Orders {
    /// The line with its end.
    pub(crate) fn to_line(&self) -> String {
        let json = serde_json::to_string(self).expect("text and flags");
        format!("{json}\n")
    }

    /// Reads the line; what comes after it is the lifeline.
    pub(crate) fn from_stdin() -> anyhow::Result<Self> {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        serde_json::from_str(&line).context("a supervisor is started by `nova up`")
    }
}
