//! Keeps the index level with the records.
//!
//! The index knows the revision up to which it has read the store's log of changes, and which store that was. A search
//! first reads the rest of the log. When the log does not reach back so far, or the index belongs to another store, or
//! its file is new, it is filled from a list of all records. Every step can be repeated: an interrupted one is.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::try_join_all;
use nova_storage::{Change, Commit, CommitError, Entry, Kv, Range, Revision};
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

use super::{Hit, Hits, Memory, Search, record};
use crate::error::Error;
use crate::records::{self, ATTEMPTS};
use crate::store::SearchIndex;

/// The store's own name, made once: an index of another store is recognised by it.
const STORE: &str = "memory/store";
/// Records that are read and indexed together; each is at most 1 MiB.
const PAGE: usize = 64;
/// Records that are read at the same time.
const READS: usize = 16;
/// The position is written down at least this often, also when no memory changed.
const NOTED_EVERY: Revision = 10_000;

/// The index and its position.
#[derive(Debug)]
pub(crate) struct Follower {
    kv: Arc<dyn Kv>,
    index: SearchIndex,
    /// None until it is known from the file; one catches up at a time.
    position: Mutex<Option<Noted>>,
    /// The same for those who need not wait: what was read last.
    reached: AtomicU64,
    /// The store's name, once it is known.
    store: OnceCell<String>,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    /// Everything up to here is in the index.
    read: Revision,
    /// What the file says of it.
    written: Revision,
}

impl Follower {
    pub(crate) fn new(kv: Arc<dyn Kv>, index: SearchIndex) -> Self {
        Self { kv, index, position: Mutex::new(None), reached: AtomicU64::new(0), store: OnceCell::new() }
    }

    /// Brings everything that is committed now into the index. Returns the revision that it has reached.
    pub(crate) async fn catch_up(&self) -> Result<Revision, Error> {
        let present = self.kv.revision().await?;
        // Equal, not less: the revision of a store that was emptied begins anew.
        if present != 0 && present == self.reached.load(Ordering::Acquire) {
            return Ok(present);
        }
        let mut position = self.position.lock().await;
        loop {
            let at = match *position {
                Some(at) => at,
                None => self.resume().await?,
            };
            match self.kv.changes_page(record::PREFIX, at.read, PAGE).await {
                Ok(page) => {
                    let complete = page.changes.len() < PAGE;
                    *position = Some(self.follow(at, page.changes, page.next).await?);
                    if complete {
                        self.reached.store(page.next, Ordering::Release);
                        return Ok(page.next);
                    }
                }
                Err(nova_storage::Error::CursorExpired { .. }) => {
                    *position = None;
                    *position = Some(self.rebuild().await?);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A page of hits in the index as it is.
    pub(crate) async fn search(&self, search: Search) -> Result<Hits, Error> {
        let found = self.index.search(search).await?;
        let hit = |(record, score): (Vec<u8>, f64)| {
            let damaged = |source| Error::Damaged { key: "of the index".to_owned(), source };
            Ok(Hit { memory: serde_json::from_slice(&record).map_err(damaged)?, score })
        };
        Ok(Hits { hits: found.records.into_iter().map(hit).collect::<Result<_, Error>>()?, more: found.more })
    }

    /// Returns when something was committed behind `revision`.
    pub(crate) async fn wait_past(&self, revision: Revision) -> Result<(), Error> {
        self.kv.wait_past(revision).await?;
        Ok(())
    }

    async fn resume(&self) -> Result<Noted, Error> {
        let position = self.index.position(self.store().await?).await?;
        let Some(revision) = position else { return self.rebuild().await };
        Ok(Noted { read: revision, written: revision })
    }

    async fn follow(&self, at: Noted, changes: Vec<Change>, next: Revision) -> Result<Noted, Error> {
        if changes.is_empty() && next - at.written < NOTED_EVERY {
            return Ok(Noted { read: next, ..at });
        }
        let mut seen = HashSet::new();
        let keys: Vec<String> =
            changes.into_iter().map(|change| change.key).filter(|key| seen.insert(key.clone())).collect();
        let entries = self.read(&keys).await?;
        let gone = keys.iter().zip(&entries).filter(|(_, entry)| entry.is_none());
        let gone = gone.filter_map(|(key, _)| record::id_in(key)).collect();
        let memories = entries.iter().flatten().map(decode).collect::<Result<_, _>>()?;
        self.index.apply(memories, gone, Some((self.store().await?, next))).await?;
        Ok(Noted { read: next, written: next })
    }

    /// The entries at some keys, in the same order.
    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READS) {
            let reads: Vec<_> = keys.iter().map(|key| self.kv.get(key)).collect();
            entries.extend(try_join_all(reads).await?);
        }
        Ok(entries)
    }

    /// Fills the index anew, from a list of all records.
    async fn rebuild(&self) -> Result<Noted, Error> {
        let store = self.store().await?;
        let revision = self.kv.revision().await?;
        tracing::info!(revision, "filling the index of memories anew");
        self.index.clear().await?;
        let mut range = Range::prefix(record::PREFIX).limit(PAGE);
        loop {
            let page = self.kv.range(range.clone()).await?;
            let memories = page.iter().map(decode).collect::<Result<_, _>>()?;
            match page.last() {
                Some(last) if page.len() == PAGE => {
                    self.index.apply(memories, Vec::new(), None).await?;
                    range = range.after(&last.key);
                }
                _ => {
                    self.index.apply(memories, Vec::new(), Some((store, revision))).await?;
                    return Ok(Noted { read: revision, written: revision });
                }
            }
        }
    }

    async fn store(&self) -> Result<String, Error> {
        self.store.get_or_try_init(|| self.named()).await.cloned()
    }

    /// Reads the store's name, or gives it one; of two who do, one is first.
    async fn named(&self) -> Result<String, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(entry) = self.kv.get(STORE).await? {
                return records::decode(&entry);
            }
            let name = Uuid::new_v4().to_string();
            let commit = Commit::new().absent(STORE).put(STORE, records::encode(&name));
            match self.kv.commit(commit).await {
                Ok(_) => return Ok(name),
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(Error::Contended(STORE.to_owned()))
    }
}

fn decode(entry: &Entry) -> Result<(Memory, Vec<u8>), Error> {
    Ok((records::decode(entry)?, entry.value.clone()))
}
