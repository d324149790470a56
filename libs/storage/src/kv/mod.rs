//! A small versioned key-value store: conditions, atomic commits of several keys, ranges in key order,
//! and a log of changes that can be followed from a cursor.
//!
//! Every commit that changes something gets a [`Revision`]: a number that grows from commit to commit
//! (not by one). An entry's version is the revision of its last write. The same promises hold over
//! SQLite and over Redis; one conformance suite proves them for both.
//!
//! To follow a prefix: [`Kv::revision`], then list with [`Kv::range`], then loop over
//! [`Kv::changes_page`] and [`Kv::wait_past`]. On [`Error::CursorExpired`] begin anew with the list.

mod commit;
mod entries;
pub mod fence;
mod limits;
mod redis;
mod sqlite;

use std::fmt::Debug;

use async_trait::async_trait;

pub use commit::{Check, Commit, Write};
pub use entries::{Change, ChangesPage, Entry, Range, Revision};
pub use fence::{Fence, Overtaken};
pub use limits::{CHANGES_KEPT, MAX_COMMIT_BYTES, MAX_KEY, MAX_OPERATIONS, MAX_PAGE, MAX_VALUE};
pub use redis::RedisKv;
pub use sqlite::SqliteKv;

use crate::{CommitError, Error};

/// The store. Keys are texts of 1 to 512 bytes, ordered by their bytes; values are up to 1 MiB.
#[async_trait]
pub trait Kv: Debug + Send + Sync + 'static {
    /// The entry at `key`, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// A page of entries in key order: one snapshot. Whether there may be more, [`Range::goes_on`] tells: without a
    /// bound in bytes, fewer than `limit` entries mean that there are no more.
    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error>;

    /// Applies all writes if all checks hold, else nothing. Returns the revision of the commit, or the
    /// present one when the writes changed nothing (no writes, or deletes of absent keys).
    ///
    /// On [`CommitError::Store`] the outcome can be unknown: read before repeating it.
    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError>;

    /// Changes of keys under `prefix` with revisions greater than `after`, oldest first, about `limit`
    /// of them: a revision is never cut, so the last one can exceed the limit.
    ///
    /// # Errors
    /// [`Error::CursorExpired`] when the log no longer reaches back to `after` (it keeps the last
    /// 100,000 changes at least), or when `after` is in the future.
    async fn changes(&self, prefix: &str, after: Revision, limit: usize) -> Result<Vec<Change>, Error>;

    /// The revision of the last commit; 0 before the first.
    async fn revision(&self) -> Result<Revision, Error>;

    /// Returns the present revision as soon as it is greater than `revision`, whoever committed.
    async fn wait_past(&self, revision: Revision) -> Result<Revision, Error>;

    /// [`Kv::changes`], with the cursor to go on from. The cursor moves on even if nothing under the
    /// prefix has changed, so that it does not expire.
    async fn changes_page(&self, prefix: &str, after: Revision, limit: usize) -> Result<ChangesPage, Error> {
        // Read before the changes: what is committed in between is seen now or in the next page.
        let present = self.revision().await?;
        let changes = self.changes(prefix, after, limit).await?;
        let last = changes.last().map_or(after, |change| change.revision);
        let next = if changes.len() < limit { last.max(present) } else { last };
        Ok(ChangesPage { changes, next })
    }

    /// All entries under `prefix` in key order, read page by page: not one snapshot.
    async fn scan(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.key.clone());
            let page = self.range(Range { after, ..Range::prefix(prefix).limit(MAX_PAGE) }).await?;
            let complete = page.len() < MAX_PAGE;
            entries.extend(page);
            if complete {
                return Ok(entries);
            }
        }
    }
}
