//! Records in the key-value store: JSON, read and changed under their version.

use std::sync::Arc;

use nova_storage::{Commit, CommitError, Kv, Revision};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 32;

/// Typed access to the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records(Arc<dyn Kv>);

impl Records {
    /// Records in this store.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self(kv)
    }

    /// The store itself.
    pub fn kv(&self) -> &dyn Kv {
        self.0.as_ref()
    }

    /// A record and its version.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, Revision)>, Error> {
        let Some(entry) = self.0.get(key).await? else { return Ok(None) };
        Ok(Some((decode(key, &entry.value)?, entry.version)))
    }

    /// Commits what `plan` makes of the record at `key`, as often as somebody else is faster.
    /// `plan` gives the commit to make, without the check, and what to answer; no commit is no change.
    pub async fn change<T: DeserializeOwned, R>(
        &self,
        key: &str,
        mut plan: impl FnMut(Option<T>) -> Result<(Option<Commit>, R), Error>,
    ) -> Result<R, Error> {
        for _ in 0..TRIES {
            let (record, version) = match self.get::<T>(key).await? {
                Some((record, version)) => (Some(record), Some(version)),
                None => (None, None),
            };
            let (commit, answer) = plan(record)?;
            let Some(commit) = commit else { return Ok(answer) };
            match self.0.commit(commit.check(key, version)).await {
                Ok(_) => return Ok(answer),
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(Error::Contended(key.to_owned()))
    }
}

/// A record as bytes.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have text keys and serialise")
}

/// Bytes as a record.
pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Damaged { key: key.to_owned(), source })
}
