//! What a commit asks for.

use tokio::time::Instant;

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
    /// From when on it is not applied any more; none: it always is.
    pub before: Option<Instant>,
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

    /// Requires to be applied before `end`, however long it is on its way: from then on it is refused with
    /// [`crate::Error::TooLate`], and cannot land later.
    #[must_use]
    pub fn before(mut self, end: Instant) -> Self {
        self.before = Some(end);
        self
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
