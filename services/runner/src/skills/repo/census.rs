//! Files, bytes and lines of a work tree by language: what `repo.size` and `repo.languages` count.

use std::collections::BTreeMap;

use serde::Serialize;

use super::language;
use super::tree::{Coverage, Tree};

/// What a language, or the whole tree, amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Lines of the files that were read.
    pub lines: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64, lines: u64) {
        self.files += 1;
        self.bytes += bytes;
        self.lines += lines;
    }
}

/// The count of a work tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    pub(super) languages: BTreeMap<&'static str, Amount>,
    pub(super) total_lines: u64,
    pub(super) coverage: Coverage,
}

/// Counts a tree.
pub(super) fn take(tree: &Tree<'_>) -> Census {
    let mut census = Census::default();
    census.coverage = tree.read(|file, text| {
        let lines = text.lines().count() as u64;
        census.total_lines += lines;
        if let Some(language) = language::of(&file.path) {
            census.languages.entry(language).or_default().add(file.bytes, lines);
        }
    });
    census
}
