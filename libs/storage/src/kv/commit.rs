//! What a commit asks for.

use super::Revision;

/// A condition on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub key: String,
    /// The version that it must have; none: it must be absent.
    pub version: Option<Revision>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces the entry.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Vec<u8>,
    },
    /// Removes the entry, if there is one.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// The key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    pub(super) fn value(&self) -> &[u8] {
        match self {
            Self::Put { value, .. } => value,
            Self::Delete { .. } => &[],
        }
    }
}

/// Checks and writes that happen together or not at all. A key may be written once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// All must hold.
    pub checks: Vec<Check>,
    /// Then all of these are applied.
    pub writes: Vec<Write>,
}

impl Commit {
    /// An empty commit, to add to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires `key` to be at `version`; none: to be absent.
    #[must_use]
    pub fn check(mut self, key: impl Into<String>, version: Option<Revision>) -> Self {
        self.checks.push(Check { key: key.into(), version });
        self
    }

    /// Requires `key` to be absent.
    #[must_use]
    pub fn absent(self, key: impl Into<String>) -> Self {
        self.check(key, None)
    }

    /// Creates or replaces `key`.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }
}
