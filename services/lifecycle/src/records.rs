//! Records in the key-value store: JSON, read and changed under their version.

use std::sync::Arc;

use nova_rpc::Lease;
use nova_runtime::fenced;
use nova_storage::{Commit, CommitError, Entry, Kv, Range, Revision};
use nova_types::Clock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Bytes of records after which a page of them ends early, so that it fits a message of 4 MiB.
pub(crate) const PAGE_BYTES: usize = 3 << 20;

/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 32;

/// Typed access to the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    kv: Arc<dyn Kv>,
    under: Option<Under>,
}

/// The lease that records are changed under.
#[derive(Clone, Debug)]
struct Under {
    lease: Arc<Lease>,
    clock: Arc<dyn Clock>,
}

impl Records {
    /// Records in this store.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv, under: None }
    }

    /// The same records, changed under a lease: only while it stands, and no later one has changed any.
    pub(crate) fn under(&self, lease: Option<Arc<Lease>>, clock: &Arc<dyn Clock>) -> Self {
        let under = lease.map(|lease| Under { lease, clock: Arc::clone(clock) });
        Self { kv: Arc::clone(&self.kv), under }
    }

    /// The store itself.
    pub fn kv(&self) -> &dyn Kv {
        self.kv.as_ref()
    }

    /// A record and its version.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, Revision)>, Error> {
        let Some(entry) = self.kv.get(key).await? else { return Ok(None) };
        Ok(Some((decode(key, &entry.value)?, entry.version)))
    }

    /// A page of records, which their bytes end too, and the key to go on from.
    pub(crate) async fn page(&self, range: Range) -> Result<(Vec<Entry>, Option<String>), Error> {
        let range = range.bytes(PAGE_BYTES);
        let entries = self.kv.range(range.clone()).await?;
        let last = entries.last().filter(|_| range.goes_on(&entries));
        let next = last.map(|entry| entry.key.clone());
        Ok((entries, next))
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
            match self.commit(commit.check(key, version)).await? {
                Ok(_) => return Ok(answer),
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(Error::Contended(key.to_owned()))
    }

    /// Commits; under the lease, if there is one.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Result<Revision, CommitError>, Error> {
        let Some(Under { lease, clock }) = &self.under else { return Ok(self.kv.commit(commit).await) };
        fenced::commit(self.kv(), Some(lease), clock.as_ref(), commit).await.map_err(Error::LeaseLost)
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
