//! `repo.blobs`: the largest contents in the history, those that were deleted since included.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::git::{Repository, records, shown};
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Blobs named.
const NAMED: usize = 20;
/// From here on a blob is large, in bytes.
const LARGE: u64 = 1 << 20;

/// The largest blobs of a repository's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlobsFinding {
    /// Largest first, at most 20.
    pub largest: Vec<Blob>,
    /// How many distinct blobs there are.
    pub blobs: usize,
    /// Their size, uncompressed, in bytes.
    pub bytes: u64,
    /// How many are of 1 MiB or more.
    pub large: usize,
    /// What was left out, in words.
    pub note: Option<String>,
}

/// A content that some commit has or had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blob {
    /// Id of the object.
    pub object: String,
    /// A path that it had.
    pub path: String,
    /// Size, uncompressed, in bytes.
    pub bytes: u64,
    /// True when the present commit still has it.
    pub present: bool,
}

/// Serves `repo.blobs`.
pub fn run(request: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine(&super::open(request)?)?)
}

fn examine(repository: &Repository) -> Result<BlobsFinding, SkillError> {
    if repository.head().is_none() {
        return Ok(BlobsFinding { note: repository.gaps(), ..BlobsFinding::default() });
    }
    let objects = repository.git(&["rev-list", "--objects", "--all", "HEAD"])?;
    let whole_lines = objects.bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let format = "--batch-check=%(objecttype) %(objectname) %(objectsize) %(rest)";
    let sizes = repository.git_with(&["cat-file", format], objects.bytes[..whole_lines].to_vec())?;
    let present: HashSet<String> = repository.committed()?.into_iter().map(|file| file.object).collect();
    let mut finding = rank(&sizes.bytes, &present);
    let bounded = (objects.truncated || sizes.truncated).then(|| {
        format!("the history is large: {} of it were looked at", text::count(finding.blobs as u64, "blob"))
    });
    finding.note = repository.gaps().or(bounded);
    Ok(finding)
}

fn rank(sizes: &[u8], present: &HashSet<String>) -> BlobsFinding {
    let mut finding = BlobsFinding::default();
    let mut ranked: BTreeMap<(std::cmp::Reverse<u64>, String), String> = BTreeMap::new();
    for (object, bytes, path) in records(sizes, b'\n').filter_map(|line| parse(&shown(line))) {
        finding.blobs += 1;
        finding.bytes += bytes;
        finding.large += usize::from(bytes >= LARGE);
        ranked.insert((std::cmp::Reverse(bytes), object), path);
        if ranked.len() > NAMED {
            ranked.pop_last();
        }
    }
    finding.largest = ranked
        .into_iter()
        .map(|((bytes, object), path)| Blob {
            present: present.contains(&object),
            object,
            path,
            bytes: bytes.0,
        })
        .collect();
    finding
}

fn parse(line: &str) -> Option<(String, u64, String)> {
    let mut fields = line.strip_prefix("blob ")?.splitn(3, ' ');
    let (object, bytes) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
    Some((object, bytes, fields.next().unwrap_or_default().to_owned()))
}

impl Finding for BlobsFinding {
    fn summary(&self) -> String {
        let blobs = self.largest.iter().map(|blob| {
            let gone = if blob.present { "" } else { ", not in the present commit" };
            format!("{} ({}{gone})", blob.path, text::bytes(blob.bytes))
        });
        let note = self.note.as_deref().map(|note| format!("; {note}")).unwrap_or_default();
        format!(
            "{} of {} in the history, {} of 1 MiB or more; largest: {}{note}",
            text::count(self.blobs as u64, "blob"),
            text::bytes(self.bytes),
            self.large,
            text::list(blobs, 4),
        )
    }

    fn importance(&self) -> f64 {
        if self.largest.iter().any(|blob| !blob.present && blob.bytes >= LARGE) { 0.8 } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use crate::skills::repo;
    use crate::skills::repo::fixture::{Fixture, request_about};

    fn with_a_deleted_blob() -> Fixture {
        let fixture =
            Fixture::new().file("data set.bin", vec![7; 2 << 20]).file("a.rs", "fn a() {}\n").commit("One");
        fixture.without("data set.bin").commit("Two")
    }

    #[test]
    fn deleted_blob_is_still_in_the_history() {
        let outcome = repo::blobs::run(&with_a_deleted_blob().request("{}")).unwrap();
        let largest = &outcome.data["largest"][0];
        assert_eq!((&largest["path"], &largest["present"]), (&"data set.bin".into(), &false.into()));
        assert_eq!((&outcome.data["blobs"], &outcome.data["large"]), (&2.into(), &1.into()));
        assert!(
            outcome.summary.contains("not in the present commit") && outcome.importance > 0.5,
            "{}",
            outcome.summary
        );
    }

    #[test]
    fn bare_repository_has_a_history_too() {
        let fixture = with_a_deleted_blob();
        let bare = fixture.clone_into("bare.git", &["--bare"]);
        assert_eq!(repo::blobs::run(&request_about(&bare, "{}")).unwrap().data["blobs"], 2);
    }
}
