//! Fences: a high-water mark for each task, raised in the commit of what its lease holder writes.
//!
//! Whoever comes with a smaller token than one that was seen has lost the lease, and writes nothing. A mark is needed
//! only until the proofs of earlier leases have ended; [`sweep`] forgets it some time after.

use crate::CommitError;

use super::{Commit, Kv, Range, Revision};

/// Under which all marks are.
const PREFIX: &str = "fence/";
/// Marks that are looked at together.
const PAGE: usize = 500;

/// The lease that a commit is made under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// What the lease is for: namespace and id of a task.
    pub of: String,
    /// Its token, which grows from lease to lease.
    pub token: u64,
}

/// A commit under a lease that a later one has overtaken; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overtaken {
    /// Token of the later lease.
    pub by: u64,
}

/// What a mark holds.
#[derive(Debug, Clone, Copy)]
struct Mark {
    token: u64,
    at: i64,
}

impl Mark {
    fn bytes(self) -> Vec<u8> {
        [self.token.to_be_bytes(), self.at.to_be_bytes()].concat()
    }

    /// One that cannot be read fences everybody out: no token is greater.
    fn of(bytes: &[u8]) -> Self {
        let half = |at: usize| bytes.get(at..at + 8).and_then(|half| half.try_into().ok());
        let token = half(0).map_or(u64::MAX, u64::from_be_bytes);
        Self { token, at: half(8).map_or(i64::MAX, i64::from_be_bytes) }
    }
}

impl Fence {
    /// Commits under the lease, and raises the mark of its task in the same commit. `now` is in microseconds.
    ///
    /// # Errors
    /// As [`Kv::commit`]; also [`CommitError::Conflict`] when the mark was raised meanwhile: try again.
    pub async fn commit(
        &self,
        kv: &dyn Kv,
        commit: Commit,
        now: i64,
    ) -> Result<Result<Revision, Overtaken>, CommitError> {
        let key = format!("{PREFIX}{}", self.of);
        let known = kv.get(&key).await.map_err(CommitError::Store)?;
        let mark = known.as_ref().map(|entry| Mark::of(&entry.value));
        if let Some(mark) = mark.filter(|mark| mark.token > self.token) {
            return Ok(Err(Overtaken { by: mark.token }));
        }
        let mut commit = commit.check(&key, known.map(|entry| entry.version));
        if mark.is_none_or(|mark| mark.token < self.token) {
            commit = commit.put(&key, Mark { token: self.token, at: now }.bytes());
        }
        kv.commit(commit).await.map(Ok)
    }
}

/// Forgets the marks that were raised before a time, in microseconds. Returns how many.
///
/// # Errors
/// As [`Kv::commit`]; a mark that is raised meanwhile stays.
pub async fn sweep(kv: &dyn Kv, before: i64) -> Result<usize, crate::Error> {
    let (mut swept, mut range) = (0, Range::prefix(PREFIX).limit(PAGE));
    loop {
        let page = kv.range(range.clone()).await?;
        for entry in page.iter().filter(|entry| Mark::of(&entry.value).at < before) {
            let commit = Commit::new().check(&entry.key, Some(entry.version)).delete(&entry.key);
            match kv.commit(commit).await {
                Ok(_) => swept += 1,
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => range = range.after(&last.key),
            _ => return Ok(swept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteKv;

    fn fence(token: u64) -> Fence {
        Fence { of: "default/task".to_owned(), token }
    }

    async fn write(kv: &SqliteKv, token: u64, value: &str) -> Result<Revision, Overtaken> {
        fence(token).commit(kv, Commit::new().put("k", value), 7).await.unwrap()
    }

    fn kv() -> (tempfile::TempDir, SqliteKv) {
        let folder = tempfile::tempdir().unwrap();
        let kv = SqliteKv::open(&folder.path().join("kv.db")).unwrap();
        (folder, kv)
    }

    #[tokio::test]
    async fn a_smaller_token_than_one_seen_writes_nothing() {
        let (_folder, kv) = kv();
        for (token, value) in [(5, "a"), (5, "b"), (9, "c")] {
            write(&kv, token, value).await.unwrap();
        }
        assert_eq!(write(&kv, 5, "stale").await, Err(Overtaken { by: 9 }));
        assert_eq!(kv.get("k").await.unwrap().unwrap().value, b"c");
    }

    #[tokio::test]
    async fn a_write_that_loses_its_race_raises_no_mark() {
        let (_folder, kv) = kv();
        write(&kv, 5, "a").await.unwrap();
        let lost = fence(9).commit(&kv, Commit::new().absent("k").put("k", "b"), 7).await;
        assert!(matches!(lost, Err(CommitError::Conflict { .. })));
        write(&kv, 5, "c").await.unwrap();
    }

    #[tokio::test]
    async fn old_marks_are_forgotten() {
        let (_folder, kv) = kv();
        write(&kv, 5, "a").await.unwrap();
        assert_eq!(sweep(&kv, 7).await.unwrap(), 0);
        assert_eq!(sweep(&kv, 8).await.unwrap(), 1);
        assert!(kv.get("fence/default/task").await.unwrap().is_none());
    }
}
