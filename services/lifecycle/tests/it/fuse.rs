//! Kills a driver at its n-th touch of the world, before or after it took effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use nova_storage::{Change, Commit, CommitError, Entry, Error, Kv, Range, Revision};
use tokio_util::sync::CancellationToken;

/// Counts down at every touch; once it is burnt, nothing works.
#[derive(Clone, Debug)]
pub(crate) struct Fuse {
    left: Arc<AtomicI64>,
    burnt: CancellationToken,
}

impl Fuse {
    pub(crate) fn of(touches: i64) -> Self {
        Self { left: Arc::new(AtomicI64::new(touches)), burnt: CancellationToken::new() }
    }

    pub(crate) fn is_burnt(&self) -> bool {
        self.burnt.is_cancelled()
    }

    /// Waits until it has burnt.
    pub(crate) async fn burnt(&self) {
        self.burnt.cancelled().await;
    }

    pub(crate) fn touch(&self) -> bool {
        let is_burnt = self.left.fetch_sub(1, Ordering::SeqCst) <= 1;
        if is_burnt {
            self.burnt.cancel();
        }
        is_burnt
    }
}

/// A store whose commits burn the fuse.
#[derive(Debug)]
pub(crate) struct FusedKv {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) fuse: Fuse,
}

#[async_trait]
impl Kv for FusedKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.kv.get(key).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        self.kv.range(range).await
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError> {
        if self.fuse.touch() {
            return Err(Error::Closed.into());
        }
        let committed = self.kv.commit(commit).await;
        if self.fuse.touch() { Err(Error::Closed.into()) } else { committed }
    }

    async fn changes(&self, prefix: &str, after: Revision, limit: usize) -> Result<Vec<Change>, Error> {
        self.kv.changes(prefix, after, limit).await
    }

    async fn revision(&self) -> Result<Revision, Error> {
        self.kv.revision().await
    }

    async fn wait_past(&self, revision: Revision) -> Result<Revision, Error> {
        self.kv.wait_past(revision).await
    }
}
