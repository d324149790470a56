//! Put, get and search.

use std::sync::Arc;
use std::time::Duration;

use nova_rpc::Lease;
use nova_runtime::fenced;
use nova_storage::{Commit, CommitError, Entry, Kv, Range, Revision};
use nova_types::{Clock, MemoryId, Namespace, RequestId, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::key;
use super::{Draft, Follower, Hits, Memory, Search};
use crate::error::Error;
use crate::records::{self, ATTEMPTS};

const REQUESTS: &str = "memory/request/";
const SWEEP_PAGE: usize = 500;

/// What a `request_id` was used for.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    memory: MemoryId,
    fingerprint: String,
    expires: Timestamp,
}

/// A memory after it was put.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) memory: Memory,
    /// The request_id was known: the memory is the earlier one.
    pub(crate) duplicate: bool,
}

/// The memories of the mesh.
#[derive(Clone, Debug)]
pub(crate) struct Memories {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    follower: Arc<Follower>,
    request_window: Duration,
    lease: Option<Arc<Lease>>,
}

impl Memories {
    pub(crate) fn new(
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        follower: Arc<Follower>,
        request_window: Duration,
    ) -> Self {
        Self { kv, clock, follower, request_window, lease: None }
    }

    /// The same memories, written under a lease.
    pub(crate) fn under(&self, lease: Option<Arc<Lease>>) -> Self {
        Self { lease, ..self.clone() }
    }

    /// Stores a draft; once, when it has a request_id.
    pub(crate) async fn put(
        &self,
        author: &SpiffeId,
        draft: Draft,
        request_id: Option<RequestId>,
    ) -> Result<Stored, Error> {
        let Some(request_id) = request_id else {
            return self.put_anew(author, draft).await;
        };
        let request_key = request_key(&draft.namespace, &request_id);
        for _ in 0..ATTEMPTS {
            let known = self.kv.get(&request_key).await?;
            if let Some(earlier) = self.earlier(known.as_ref(), &request_id, author, &draft).await? {
                return Ok(Stored { memory: earlier, duplicate: true });
            }
            let version = known.map(|entry| entry.version);
            if let Some(memory) = self.put_request(author, &draft, &request_key, version).await? {
                return Ok(Stored { memory, duplicate: false });
            }
        }
        Err(Error::Contended(request_key))
    }

    pub(crate) async fn get(&self, namespace: &Namespace, memory: MemoryId) -> Result<Memory, Error> {
        let unknown = || Error::MemoryUnknown { namespace: namespace.clone(), memory };
        let entry = self.kv.get(&key(namespace, &memory)).await?;
        records::decode(&entry.ok_or_else(unknown)?)
    }

    /// Searches, with everything that was acknowledged before in the index.
    pub(crate) async fn search(&self, search: Search) -> Result<Hits, Error> {
        self.follower.catch_up().await?;
        self.follower.search(search).await
    }

    /// Forgets request_ids whose window has passed. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let mut swept = 0;
        let mut range = Range::prefix(REQUESTS).limit(SWEEP_PAGE);
        loop {
            let page = self.kv.range(range.clone()).await?;
            for entry in &page {
                if records::decode::<Request>(entry)?.expires < now && self.forget(entry).await? {
                    swept += 1;
                }
            }
            match page.last() {
                Some(last) if page.len() == SWEEP_PAGE => range = range.after(&last.key),
                _ => return Ok(swept),
            }
        }
    }

    /// Forgets the marks of leases that ended long ago. Returns how many.
    pub(crate) async fn sweep_fences(&self) -> Result<usize, Error> {
        Ok(fenced::sweep(self.kv.as_ref(), self.clock.as_ref()).await?)
    }

    async fn put_anew(&self, author: &SpiffeId, draft: Draft) -> Result<Stored, Error> {
        let memory = self.memory(author, draft);
        let key = key(&memory.content.namespace, &memory.id);
        let commit = Commit::new().absent(&key).put(&key, records::encode(&memory));
        for _ in 0..ATTEMPTS {
            if self.committed(commit.clone()).await?.is_some() {
                return Ok(Stored { memory, duplicate: false });
            }
        }
        Err(Error::Contended(key))
    }

    /// The memory that the request made before, while its window lasts; of nobody but its author.
    async fn earlier(
        &self,
        known: Option<&Entry>,
        request_id: &RequestId,
        author: &SpiffeId,
        draft: &Draft,
    ) -> Result<Option<Memory>, Error> {
        let Some(known) = known else { return Ok(None) };
        let request: Request = records::decode(known)?;
        if request.expires < self.clock.now() {
            return Ok(None);
        }
        let memory = self.get(&draft.namespace, request.memory).await?;
        if request.fingerprint != draft.fingerprint() || memory.author != *author {
            return Err(Error::RequestReused(request_id.clone()));
        }
        Ok(Some(memory))
    }

    /// Stores the memory and the note of its request together; none when somebody was faster.
    async fn put_request(
        &self,
        author: &SpiffeId,
        draft: &Draft,
        request_key: &str,
        version: Option<Revision>,
    ) -> Result<Option<Memory>, Error> {
        let memory = self.memory(author, draft.clone());
        let fingerprint = draft.fingerprint();
        let request =
            Request { memory: memory.id, fingerprint, expires: memory.created + self.request_window };
        let commit = Commit::new()
            .check(request_key, version)
            .put(request_key, records::encode(&request))
            .put(key(&draft.namespace, &memory.id), records::encode(&memory));
        Ok(self.committed(commit).await?.map(|_| memory))
    }

    fn memory(&self, author: &SpiffeId, content: Draft) -> Memory {
        let created = self.clock.now();
        Memory { id: MemoryId::new(created), author: author.clone(), created, content }
    }

    async fn forget(&self, entry: &Entry) -> Result<bool, Error> {
        let commit = Commit::new().check(&entry.key, Some(entry.version)).delete(&entry.key);
        Ok(self.committed(commit).await?.is_some())
    }

    /// Commits, under the lease if there is one. None when a check failed.
    async fn committed(&self, commit: Commit) -> Result<Option<Revision>, Error> {
        let committed = fenced::commit(self.kv.as_ref(), self.lease.as_deref(), self.clock.as_ref(), commit);
        match committed.await.map_err(Error::LeaseLost)? {
            Ok(revision) => Ok(Some(revision)),
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

fn request_key(namespace: &Namespace, request_id: &RequestId) -> String {
    format!("{REQUESTS}{namespace}/{request_id}")
}

#[cfg(test)]
mod tests {
    use nova_storage::SqliteKv;
    use nova_types::HeldClock;

    use super::*;
    use crate::memory::MemoryKind;
    use crate::store::SearchIndex;

    async fn put(memories: &Memories, request_id: &str) -> Stored {
        let author = SpiffeId::parse("author", "spiffe://nova.local/agent/orion").unwrap();
        let draft = Draft {
            namespace: Namespace::default(),
            kind: MemoryKind::Semantic,
            text: "text".to_owned(),
            data_json: String::new(),
            labels: std::collections::BTreeMap::new(),
            importance: 0.0,
        };
        let request_id = RequestId::parse("request_id", request_id).unwrap();
        memories.put(&author, draft, request_id).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_notes_of_requests_whose_window_has_passed_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let kv = Arc::new(SqliteKv::open(&dir.path().join("kv.db")).unwrap());
        let index = SearchIndex::open(&dir.path().join("index.db")).unwrap();
        let follower = Arc::new(Follower::new(kv.clone(), index));
        let clock = Arc::new(HeldClock::at(Timestamp::from_micros(1_000_000)));
        let memories = Memories::new(kv, clock.clone(), follower, Duration::from_secs(60));

        let old = put(&memories, "old").await.memory;
        clock.advance(Duration::from_secs(61));
        put(&memories, "new").await;
        assert_eq!(memories.sweep().await.unwrap(), 1);
        assert_eq!(memories.get(&Namespace::default(), old.id).await.unwrap(), old);
        assert!(put(&memories, "new").await.duplicate);
        assert!(!put(&memories, "old").await.duplicate);
    }
}
