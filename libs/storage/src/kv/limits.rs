//! What a key-value store accepts. Checked before anything is done, the same for both engines.

use std::collections::HashSet;

use super::{Commit, Range};
use crate::Error;

/// Longest key or prefix, in bytes.
pub const MAX_KEY: usize = 512;
/// Largest value, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;
/// Most checks and writes of one commit, together.
pub const MAX_OPERATIONS: usize = 1_024;
/// Largest sum of the values of one commit, in bytes.
pub const MAX_COMMIT_BYTES: usize = 16 * MAX_VALUE;
/// Most entries or changes that one call can ask for.
pub const MAX_PAGE: usize = 1_000;
/// How many changes the log keeps at least.
pub const CHANGES_KEPT: u64 = 100_000;
/// The log is trimmed when it holds this many more than it must: not at every commit.
pub(super) const CHANGES_SLACK: u64 = 1_024;

fn invalid(what: &'static str, rule: String) -> Error {
    Error::Invalid { what, rule }
}

pub(super) fn key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(invalid("key", "must not be empty".to_owned()));
    }
    length("key", key)
}

fn length(what: &'static str, text: &str) -> Result<(), Error> {
    if text.len() <= MAX_KEY {
        return Ok(());
    }
    Err(invalid(what, format!("must be at most {MAX_KEY} bytes long, not {}", text.len())))
}

pub(super) fn page(prefix: &str, limit: usize) -> Result<(), Error> {
    length("prefix", prefix)?;
    let refused = || invalid("limit", format!("must be from 1 to {MAX_PAGE}, not {limit}"));
    if (1..=MAX_PAGE).contains(&limit) { Ok(()) } else { Err(refused()) }
}

pub(super) fn range(range: &Range) -> Result<(), Error> {
    page(&range.prefix, range.limit)?;
    range.after.as_deref().map_or(Ok(()), |after| length("after", after))
}

pub(super) fn commit(commit: &Commit) -> Result<(), Error> {
    let operations = commit.checks.len() + commit.writes.len();
    if operations > MAX_OPERATIONS {
        return Err(invalid(
            "commit",
            format!("must have at most {MAX_OPERATIONS} operations, not {operations}"),
        ));
    }
    commit.checks.iter().try_for_each(|check| key(&check.key))?;
    let mut written = HashSet::new();
    let mut bytes = 0;
    for write in &commit.writes {
        key(write.key())?;
        value(write.value())?;
        bytes += write.value().len();
        if !written.insert(write.key()) {
            return Err(invalid("commit", format!("must write a key once, not {:?} twice", write.key())));
        }
    }
    if bytes > MAX_COMMIT_BYTES {
        return Err(invalid("commit", format!("must carry at most {MAX_COMMIT_BYTES} bytes, not {bytes}")));
    }
    Ok(())
}

fn value(value: &[u8]) -> Result<(), Error> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(invalid("value", format!("must be at most {MAX_VALUE} bytes long, not {}", value.len())))
}
