//! Join tokens that were used: each is good for one key.
//!
//! A token is bound to the certificate request that it was used with, so that a caller whose answer got lost can send
//! the same request again; another request is another key, and is refused. The note outlives the token.

use std::sync::Arc;
use std::time::Duration;

use nova_storage::{Commit, CommitError, Kv, Range};
use nova_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::records;

const PREFIX: &str = "identity/joined/";
/// Verifiers may accept a token this much longer than it says.
const LEEWAY: Duration = Duration::from_secs(5 * 60);
const SWEEP_PAGE: usize = 500;

#[derive(Debug, Serialize, Deserialize)]
struct Used {
    /// SHA-256 of the certificate request, hex.
    request: String,
    expires: Timestamp,
}

/// The notes.
#[derive(Clone, Debug)]
pub(crate) struct UsedTokens {
    kv: Arc<dyn Kv>,
}

impl UsedTokens {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv }
    }

    /// Notes that a token was used with a request; fails when it was used with another one.
    pub(crate) async fn claim(&self, token_id: &str, request: &str, expires: Timestamp) -> Result<(), Error> {
        let key = format!("{PREFIX}{token_id}");
        let used = Used { request: request.to_owned(), expires: expires + LEEWAY };
        let commit = Commit::new().absent(&key).put(&key, records::encode(&used));
        match self.kv.commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { .. }) => self.check_same(&key, token_id, request).await,
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    async fn check_same(&self, key: &str, token_id: &str, request: &str) -> Result<(), Error> {
        let entry = self.kv.get(key).await?.ok_or_else(|| Error::Contended(key.to_owned()))?;
        let earlier: Used = records::decode(&entry)?;
        if earlier.request == request { Ok(()) } else { Err(Error::JoinTokenUsed(token_id.to_owned())) }
    }

    /// Forgets tokens that ended before `now`. Returns how many.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<usize, Error> {
        let mut swept = 0;
        let mut range = Range::prefix(PREFIX).limit(SWEEP_PAGE);
        loop {
            let page = self.kv.range(range.clone()).await?;
            let mut ended = Commit::new();
            for entry in &page {
                if records::decode::<Used>(entry)?.expires < now {
                    ended = ended.delete(&entry.key);
                    swept += 1;
                }
            }
            self.forget(ended).await?;
            match page.last() {
                Some(last) if page.len() == SWEEP_PAGE => range = range.after(&last.key),
                _ => return Ok(swept),
            }
        }
    }

    async fn forget(&self, ended: Commit) -> Result<(), Error> {
        if ended.writes.is_empty() {
            return Ok(());
        }
        match self.kv.commit(ended).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { key }) => Err(Error::Contended(key)),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nova_storage::SqliteKv;

    use super::*;

    #[tokio::test]
    async fn a_note_outlives_its_token_and_is_then_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let used = UsedTokens::new(Arc::new(SqliteKv::open(&dir.path().join("kv.db")).unwrap()));
        let expires = Timestamp::from_micros(1_000_000);
        used.claim("t1", "a", expires).await.unwrap();
        used.claim("t2", "a", expires + LEEWAY).await.unwrap();

        assert_eq!(used.sweep(expires + Duration::from_secs(1)).await.unwrap(), 0);
        assert!(used.claim("t1", "b", expires).await.is_err());
        assert_eq!(used.sweep(expires + LEEWAY + Duration::from_secs(1)).await.unwrap(), 1);
        assert!(used.claim("t2", "b", expires).await.is_err());
    }
}
