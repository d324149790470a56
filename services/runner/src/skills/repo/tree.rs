//! The files of a work tree: tracked ones and new ones that are not ignored.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::Serialize;

use super::git::{Repository, records, shown};
use crate::skills::{SkillError, text};

/// How much of a tree is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Files in all.
    pub(super) files: usize,
    /// Bytes read in all.
    pub(super) bytes: u64,
    /// Bytes of one file; a larger one is not read.
    pub(super) file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 50_000, bytes: 256 << 20, file_bytes: 1 << 20 }
    }
}

/// What of the tree was looked at; part of every finding, so that a bound is never silent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Files in the work tree.
    pub files: usize,
    /// Files whose text was read.
    pub read: usize,
    /// Bytes of text that were read.
    pub bytes_read: u64,
    /// Files that are no text.
    pub binary: usize,
    /// Files left out because they are too large, or because the bounds were reached.
    pub left_out: usize,
    /// Files that could not be opened or read.
    pub unreadable: usize,
    /// What was not read, in words.
    pub note: Option<String>,
}

/// A regular file.
#[derive(Clone, Debug)]
pub(super) struct TreeFile {
    /// Path from the top, with `/`, as it is shown: what is no UTF-8 in it is replaced.
    pub(super) path: String,
    /// Where it is, byte for byte.
    place: PathBuf,
    /// Size in bytes.
    pub(super) bytes: u64,
}

/// The files of a work tree.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    repository: &'a Repository,
    limits: Limits,
    /// By path; all of them, though only as many as the limits allow are read.
    pub(super) files: Vec<TreeFile>,
    /// Files that git lists and the system does not let us look at.
    unreadable: usize,
}

impl<'a> Tree<'a> {
    /// Lists the files of a repository's work tree.
    pub(super) fn list(repository: &'a Repository, limits: Limits) -> Result<Self, SkillError> {
        repository.work_tree()?;
        let answer = repository.git(&[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--full-name",
        ])?;
        let mut paths: Vec<&[u8]> = records(&answer.bytes, 0).collect();
        paths.sort_unstable();
        paths.dedup();
        let mut tree = Self { repository, limits, files: Vec::new(), unreadable: 0 };
        for path in paths {
            match regular(repository, path) {
                Ok(file) => tree.files.extend(file),
                Err(_) => tree.unreadable += 1,
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// Gives each text file, in order, to a visitor; tells what was covered.
    pub(super) fn read(&self, mut visit: impl FnMut(&TreeFile, &str)) -> Coverage {
        let (files, unreadable) = (self.files.len() + self.unreadable, self.unreadable);
        let mut coverage = Coverage { files, unreadable, ..Coverage::default() };
        for file in &self.files {
            if !self.allows(file, &coverage) {
                coverage.left_out += 1;
                continue;
            }
            match self.text(file) {
                Ok(Some(text)) => {
                    coverage.read += 1;
                    coverage.bytes_read += text.len() as u64;
                    visit(file, &text);
                }
                Ok(None) => coverage.binary += 1,
                Err(_) => coverage.unreadable += 1,
            }
        }
        coverage.note = self.note(&coverage);
        coverage
    }

    fn allows(&self, file: &TreeFile, so_far: &Coverage) -> bool {
        file.bytes <= self.limits.file_bytes
            && so_far.read < self.limits.files
            && so_far.bytes_read + file.bytes <= self.limits.bytes
    }

    fn note(&self, coverage: &Coverage) -> Option<String> {
        let left_out = (coverage.left_out > 0).then(|| self.bounds(coverage.left_out));
        let unreadable = (coverage.unreadable > 0)
            .then(|| format!("{} could not be read", text::count(coverage.unreadable as u64, "file")));
        let notes: Vec<String> = left_out.into_iter().chain(unreadable).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn bounds(&self, left_out: usize) -> String {
        format!(
            "{} not read: at most {} files, {} in all and {} each are",
            text::count(left_out as u64, "file"),
            self.limits.files,
            text::bytes(self.limits.bytes),
            text::bytes(self.limits.file_bytes),
        )
    }

    /// Reads one text file by its path, within the bound of one file.
    pub(super) fn text_of(&self, path: &str) -> Option<String> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        let file = &self.files[at];
        (file.bytes <= self.limits.file_bytes).then(|| self.text(file).ok().flatten()).flatten()
    }

    /// The text of a file; none when it is binary.
    fn text(&self, file: &TreeFile) -> std::io::Result<Option<String>> {
        let opened = File::open(self.repository.root().join(&file.place))?;
        let mut bytes = Vec::with_capacity(usize::try_from(file.bytes).unwrap_or(0));
        opened.take(self.limits.file_bytes).read_to_end(&mut bytes)?;
        let binary = bytes.iter().take(8_000).any(|&byte| byte == 0);
        Ok((!binary).then(|| {
            String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into())
        }))
    }
}

/// Links, submodules and deleted files are no files of the tree.
fn regular(repository: &Repository, path: &[u8]) -> std::io::Result<Option<TreeFile>> {
    let place = PathBuf::from(OsStr::from_bytes(path));
    match fs::symlink_metadata(repository.root().join(&place)) {
        Ok(facts) if facts.is_file() => Ok(Some(TreeFile { path: shown(path), place, bytes: facts.len() })),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Commands;
    use crate::skills::repo::fixture::Fixture;

    fn covered(fixture: &Fixture, limits: Limits) -> (Vec<String>, Coverage) {
        let path = fixture.path().display().to_string();
        let repository = Repository::open(&Commands::default(), &path).unwrap();
        let tree = Tree::list(&repository, limits).unwrap();
        let mut seen = Vec::new();
        let coverage = tree.read(|file, _| seen.push(file.path.clone()));
        (seen, coverage)
    }

    #[test]
    fn ignored_files_and_links_are_no_part_of_the_tree() {
        let fixture = Fixture::new()
            .file(".gitignore", "out/\n")
            .file("out/x", "x")
            .file("a.rs", "x")
            .file("ä b.rs", "x");
        std::os::unix::fs::symlink("/etc/passwd", fixture.path().join("link")).unwrap();
        assert_eq!(covered(&fixture, Limits::default()).0, [".gitignore", "a.rs", "ä b.rs"]);
    }

    #[test]
    fn files_whose_names_are_no_utf8_are_read_like_others() {
        let fixture = Fixture::new().file("a", "x");
        for name in [&b"na\xefve.txt"[..], b"na\xeeve.txt"] {
            fs::write(fixture.path().join(OsStr::from_bytes(name)), "token").unwrap();
        }
        let fixture = fixture.commit("One");
        let (seen, coverage) = covered(&fixture, Limits::default());
        assert_eq!(seen, ["a", "na\u{fffd}ve.txt", "na\u{fffd}ve.txt"]);
        assert_eq!((coverage.files, coverage.read, coverage.note), (3, 3, None));
    }

    #[test]
    fn files_that_cannot_be_read_are_told() {
        let fixture = Fixture::new().file("a", "x").file("b", "y");
        let repository =
            Repository::open(&Commands::default(), &fixture.path().display().to_string()).unwrap();
        let tree = Tree::list(&repository, Limits::default()).unwrap();
        fs::remove_file(fixture.path().join("b")).unwrap();
        let coverage = tree.read(|_, _| {});
        assert_eq!((coverage.read, coverage.binary, coverage.unreadable), (1, 0, 1));
        assert_eq!(coverage.note.as_deref(), Some("1 file could not be read"));
    }

    #[test]
    fn bounds_are_told() {
        let fixture =
            Fixture::new().file("a", "x".repeat(50)).file("b", "y".repeat(10)).file("c", "z".repeat(10));
        let limits = Limits { files: 1, bytes: 1_000, file_bytes: 20 };
        let (seen, coverage) = covered(&fixture, limits);
        assert_eq!((seen, coverage.left_out), (vec!["b".to_owned()], 2));
        assert!(coverage.note.unwrap().starts_with("2 files not read"));
    }

    #[test]
    fn binary_files_are_counted_but_not_read() {
        let fixture = Fixture::new().file("a.bin", [0, 1, 2]).file("b", "text");
        let (seen, coverage) = covered(&fixture, Limits::default());
        assert_eq!((seen, coverage.binary), (vec!["b".to_owned()], 1));
    }
}
