//! `repo.hotfiles`: the files that are large and change often: where faults gather.

use std::collections::HashMap;

use serde::Serialize;

use super::git::{Committed, Repository, records, shown};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Commits looked at, newest first.
const COMMITS: usize = 3_000;
/// Files named.
const NAMED: usize = 20;

/// The files that are changed most for their size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HotfilesFinding {
    /// Hottest first, at most 20.
    pub files: Vec<Hotfile>,
    /// Commits that were looked at: at most the newest 3,000, merges left out.
    pub commits: usize,
    /// What is missing, in words.
    pub note: Option<String>,
}

/// A file of the present commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hotfile {
    /// Path from the top.
    pub path: String,
    /// Commits that changed it.
    pub changes: u64,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Changes × size in KiB, rounded up.
    pub score: u64,
}

/// Serves `repo.hotfiles`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine(&super::open(request)?)?)
}

fn examine(repository: &Repository) -> Result<HotfilesFinding, SkillError> {
    if repository.head().is_none() {
        return Ok(HotfilesFinding { note: repository.gaps(), ..HotfilesFinding::default() });
    }
    let most = format!("--max-count={COMMITS}");
    let answer = repository.git(&[
        "log",
        "-z",
        "--no-merges",
        "--no-renames",
        "--name-only",
        &most,
        "--format=%x01",
        "HEAD",
    ])?;
    let (changes, commits) = changes(&answer.bytes);
    let mut files: Vec<Hotfile> = repository
        .committed()?
        .into_iter()
        .filter_map(|file| Some(Hotfile::new(*changes.get(file.path.as_slice())?, &file)))
        .collect();
    files.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.path.cmp(&b.path)));
    files.truncate(NAMED);
    Ok(HotfilesFinding { files, commits, note: repository.gaps() })
}

/// Counts how often each path occurs; a record of `\x01` begins a commit.
fn changes(log: &[u8]) -> (HashMap<&[u8], u64>, usize) {
    let mut changes: HashMap<&[u8], u64> = HashMap::new();
    let mut commits = 0;
    for record in records(log, 0) {
        // git puts a line break between a commit and the first of its paths.
        match record.strip_prefix(b"\n").unwrap_or(record) {
            b"\x01" => commits += 1,
            b"" => {}
            path => *changes.entry(path).or_default() += 1,
        }
    }
    (changes, commits)
}

impl Hotfile {
    fn new(changes: u64, file: &Committed) -> Self {
        let (path, bytes) = (shown(&file.path), file.bytes);
        Self { path, changes, bytes, score: changes * bytes.div_ceil(1_024) }
    }
}

impl Finding for HotfilesFinding {
    fn summary(&self) -> String {
        if self.commits == 0 {
            return "no commits, so no file was changed more than another".to_owned();
        }
        let files = self.files.iter().map(|file| {
            let times = text::count(file.changes, "change");
            format!("{} ({times}, {})", file.path, text::bytes(file.bytes))
        });
        let note = self.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
        format!(
            "hottest files of the last {}: {}{note}",
            text::count(self.commits as u64, "commit"),
            text::list(files, 5)
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::skills::repo;
    use crate::skills::repo::fixture::Fixture;

    #[test]
    fn large_and_often_changed_comes_first() {
        let big = |mark: &str| format!("{mark}{}", "x".repeat(5_000));
        let fixture = Fixture::new()
            .file("big one.rs", big("1"))
            .file("small.rs", "1")
            .file("gone.rs", "1")
            .commit("One");
        let fixture =
            fixture.file("big one.rs", big("2")).file("small.rs", "2").without("gone.rs").commit("Two");
        let fixture = fixture.file("small.rs", "3").commit("Three");
        let data = repo::hotfiles::run(&fixture.request("{}")).unwrap().data;
        assert_eq!(data["commits"], 3);
        let files = data["files"].as_array().unwrap();
        assert_eq!(files.iter().map(|file| &file["path"]).collect::<Vec<_>>(), ["big one.rs", "small.rs"]);
        assert_eq!((&files[0]["changes"], &files[1]["changes"]), (&2.into(), &3.into()));
    }
}
