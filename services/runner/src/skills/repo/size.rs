//! `repo.size`: how much there is: files, bytes, lines by language, and the largest files.

use std::collections::BTreeMap;

use serde::Serialize;

use super::census::{self, Amount};
use super::tree::{Coverage, Limits, Tree, TreeFile};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Files and folders named at most.
const NAMED: usize = 20;

/// How much a repository's work tree holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeFinding {
    /// Files of the work tree, ignored ones left out.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// Lines of the text files that were read.
    pub lines: u64,
    /// By language.
    pub languages: BTreeMap<&'static str, Amount>,
    /// The largest files, at most 20.
    pub largest: Vec<SizedPath>,
    /// The largest folders at the top, at most 20.
    pub folders: Vec<SizedPath>,
    /// What was looked at.
    pub coverage: Coverage,
}

/// Something with a size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizedPath {
    /// Path from the top.
    pub path: String,
    /// Size.
    pub bytes: u64,
}

/// Serves `repo.size`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    let repository = super::open(request)?;
    let tree = Tree::list(&repository, Limits::default())?;
    Outcome::of(&measure(&tree))
}

fn measure(tree: &Tree<'_>) -> SizeFinding {
    let census = census::take(tree);
    SizeFinding {
        files: census.coverage.files,
        bytes: tree.files.iter().map(|file| file.bytes).sum(),
        lines: census.total_lines,
        languages: census.languages,
        largest: largest(
            tree.files.iter().map(|file| SizedPath { path: file.path.clone(), bytes: file.bytes }),
        ),
        folders: folders(&tree.files),
        coverage: census.coverage,
    }
}

fn folders(files: &[TreeFile]) -> Vec<SizedPath> {
    let mut folders: BTreeMap<&str, u64> = BTreeMap::new();
    for file in files {
        if let Some((folder, _)) = file.path.split_once('/') {
            *folders.entry(folder).or_default() += file.bytes;
        }
    }
    largest(folders.into_iter().map(|(path, bytes)| SizedPath { path: path.to_owned(), bytes }))
}

fn largest(items: impl Iterator<Item = SizedPath>) -> Vec<SizedPath> {
    let mut items: Vec<SizedPath> = items.collect();
    items.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    items.truncate(NAMED);
    items
}

impl Finding for SizeFinding {
    fn summary(&self) -> String {
        let mut languages: Vec<_> = self.languages.iter().collect();
        languages.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.lines));
        let languages = languages.into_iter().map(|(name, amount)| format!("{name} {}", amount.lines));
        let note = self.coverage.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
        format!(
            "{}, {}, {} lines of text; by language: {}{note}",
            text::count(self.files as u64, "file"),
            text::bytes(self.bytes),
            self.lines,
            text::list(languages, 6),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use crate::skills::repo::fixture::{Fixture, request_about};
    use crate::skills::{SkillError, repo};

    #[test]
    fn files_bytes_and_lines_are_counted() {
        let fixture = Fixture::new()
            .file("src/main.rs", "fn main() {\n}\n")
            .file("tool.py", "print()\n")
            .file("logo.png", [0; 100]);
        let data = repo::size::run(&fixture.request("{}")).unwrap().data;
        assert_eq!((&data["files"], &data["bytes"], &data["lines"]), (&3.into(), &122.into(), &3.into()));
        assert_eq!(data["languages"]["Rust"]["lines"], 2);
        assert_eq!(data["largest"][0]["path"], "logo.png");
        assert_eq!(data["folders"][0]["path"], "src");
    }

    #[test]
    fn file_with_a_name_that_is_no_utf8_is_counted() {
        let fixture = Fixture::new().file("a", "1\n");
        std::fs::write(fixture.path().join(OsStr::from_bytes(b"caf\xe9.rs")), "fn main() {}\n").unwrap();
        let data = repo::size::run(&fixture.commit("One").request("{}")).unwrap().data;
        assert_eq!((&data["files"], &data["lines"]), (&2.into(), &2.into()));
        assert_eq!(
            (&data["largest"][0]["path"], &data["languages"]["Rust"]["files"]),
            (&"caf\u{fffd}.rs".into(), &1.into())
        );
    }

    #[test]
    fn empty_repository_is_nothing_large() {
        let data = repo::size::run(&Fixture::new().request("{}")).unwrap().data;
        assert_eq!((&data["files"], &data["bytes"]), (&0.into(), &0.into()));
    }

    #[test]
    fn bare_repository_has_no_tree_to_measure() {
        let fixture = Fixture::new().file("a", "1").commit("One");
        let bare = fixture.clone_into("bare.git", &["--bare"]);
        let error = repo::size::run(&request_about(&bare, "{}")).unwrap_err();
        assert!(matches!(error, SkillError::BareRepository(_)) && error.is_permanent(), "{error}");
    }
}
