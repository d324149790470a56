//! What reading answers with, and what a range asks for.

/// A point in the store's history. 0 is before the first commit.
pub type Revision = u64;

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last write.
    pub version: Revision,
}

/// One line of the change log. It has no value: read the key, which may have changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The commit that made it; several changes share it when they were committed together.
    pub revision: Revision,
    /// What was written.
    pub key: String,
    /// Whether the key was removed.
    pub deleted: bool,
}

/// Changes, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesPage {
    /// Oldest first.
    pub changes: Vec<Change>,
    /// The cursor for the next page.
    pub next: Revision,
}

/// A page of the keys under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// What the keys begin with; empty: all keys.
    pub prefix: String,
    /// Begin behind this key (below it when descending); none: at the first one.
    pub after: Option<String>,
    /// Most entries to return: 1 to 1,000.
    pub limit: usize,
    /// The page ends with the entry that brings its values to so many bytes; none: only `limit` ends it early.
    pub bytes: Option<usize>,
    /// From the last key to the first.
    pub descending: bool,
}

impl Range {
    /// Ascending from the first key under `prefix`, 100 entries.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: None, limit: 100, bytes: None, descending: false }
    }

    /// Begins behind `key`.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// Returns at most `limit` entries.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Ends the page with the entry that brings its values to `bytes`: memory for 1,000 values is 1 GiB.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Whether there may be more behind this page of the range.
    pub fn goes_on(&self, page: &[Entry]) -> bool {
        let bytes = || page.iter().map(|entry| entry.value.len()).sum::<usize>();
        page.len() >= self.limit || self.bytes.is_some_and(|most| bytes() >= most && !page.is_empty())
    }

    /// From the last key to the first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }
}

/// Which keys a range covers. Both engines compare keys by their bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Keys are at least this.
    pub(super) lower: String,
    /// Keys are greater than the lower end.
    pub(super) lower_excluded: bool,
    /// Keys are less than this; none: no end.
    pub(super) upper: Option<String>,
}

impl Bounds {
    pub(super) fn of_prefix(prefix: &str) -> Self {
        Self { lower: prefix.to_owned(), lower_excluded: false, upper: successor(prefix) }
    }

    pub(super) fn of_range(range: &Range) -> Self {
        let mut bounds = Self::of_prefix(&range.prefix);
        let Some(after) = &range.after else { return bounds };
        if range.descending {
            if bounds.upper.as_ref().is_none_or(|upper| after < upper) {
                bounds.upper = Some(after.clone());
            }
        } else if *after >= bounds.lower {
            bounds.lower.clone_from(after);
            bounds.lower_excluded = true;
        }
        bounds
    }
}

/// Revisions are announced by whoever sees them first; they only grow. Says whether this one is news.
pub(super) fn raise(latest: &mut Revision, revision: Revision) -> bool {
    let higher = revision > *latest;
    *latest = (*latest).max(revision);
    higher
}

/// The least text that is greater than every text with this prefix. UTF-8 orders like code points, so
/// it is the prefix with its last character raised by one.
fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // A range of characters steps over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_text_that_lacks_it() {
        assert_eq!(successor("run/").as_deref(), Some("run0"));
        assert_eq!(successor("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(successor("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }

    #[test]
    fn a_cursor_outside_of_the_prefix_does_not_widen_the_range() {
        let before = Range::prefix("b/").after("a");
        assert_eq!(Bounds::of_range(&before), Bounds::of_prefix("b/"));
        let behind = Range::prefix("b/").after("c").descending();
        assert_eq!(Bounds::of_range(&behind), Bounds::of_prefix("b/"));
    }
}
