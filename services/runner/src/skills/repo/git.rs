//! A repository as the git command line tells it.
//!
//! The repository may belong to anybody: git is told to trust its folder, but to run none of its
//! hooks, monitors or external differs, to fetch nothing and to ask nobody.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::commands::{Commands, End, Invocation, Keep};
use crate::skills::{SkillError, text};

/// How long one git command may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Output kept of one git command, in bytes.
const OUTPUT: usize = 64 << 20;
/// Settings that keep a stranger's repository from running anything.
const SETTINGS: &[&str] = &[
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "log.showSignature=false",
    "protocol.allow=never",
    "gc.auto=0",
];
/// Variables by which a surrounding git would mislead this one.
const MISLEADING: &[&str] =
    &["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX"];

/// An opened repository.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
    bare: bool,
    shallow: bool,
    head: Option<String>,
    commands: Commands,
}

/// What git answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// True when git had more to say than is kept.
    pub(super) truncated: bool,
}

impl Repository {
    /// Opens the repository that a path is in.
    pub fn open(commands: &Commands, path: &str) -> Result<Self, SkillError> {
        let path = Path::new(path);
        if !path.is_absolute() {
            let message = format!("with.repo: must be an absolute path, not `{}`", path.display());
            return Err(SkillError::Input(message));
        }
        let mut repository = Self {
            root: path.to_owned(),
            bare: false,
            shallow: false,
            head: None,
            commands: commands.clone(),
        };
        repository.look()?;
        Ok(repository)
    }

    fn look(&mut self) -> Result<(), SkillError> {
        let facts = ["rev-parse", "--is-bare-repository", "--is-shallow-repository", "--is-inside-work-tree"];
        let facts = self.line(&facts).map_err(|error| self.or_no_repository(error))?;
        self.bare = facts.lines().next() == Some("true");
        self.shallow = facts.lines().nth(1) == Some("true");
        let inside = facts.lines().nth(2) == Some("true");
        self.root = match (self.bare, inside) {
            (true, _) => self.path(&["rev-parse", "--absolute-git-dir"])?,
            (false, true) => self.path(&["rev-parse", "--show-toplevel"])?,
            (false, false) => return Err(SkillError::NotAWorkTree(self.root.clone())),
        };
        self.head = self.present()?;
        Ok(())
    }

    /// The present commit; unset where none was made yet, which is not the same as one that cannot be read.
    fn present(&self) -> Result<Option<String>, SkillError> {
        let Some(id) = self.ask(&["rev-parse", "--verify", "--quiet", "HEAD"])? else { return self.unborn() };
        match self.ask(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])? {
            Some(commit) => Ok(Some(commit)),
            None => Err(unreadable(&format!("the present commit {id} cannot be read"))),
        }
    }

    /// HEAD leads to nothing: well, when it names a branch that is not there yet; one that is damaged has no name.
    fn unborn(&self) -> Result<Option<String>, SkillError> {
        match self.ask(&["symbolic-ref", "--quiet", "HEAD"])? {
            Some(_) => Ok(None),
            None => Err(unreadable("the present branch cannot be read")),
        }
    }

    /// What git answers; unset when it has no answer.
    fn ask(&self, args: &[&str]) -> Result<Option<String>, SkillError> {
        match self.line(args) {
            Ok(line) => Ok(Some(line)),
            Err(SkillError::Git { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// git cannot even begin: there is no such folder, or no repository in it.
    fn or_no_repository(&self, error: SkillError) -> SkillError {
        match error {
            SkillError::Git { .. } => SkillError::NotARepository(self.root.clone()),
            other => other,
        }
    }

    /// The top folder; of a bare repository, its own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True when older history was left out by the clone.
    pub fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// Id of the present commit; unset before the first.
    pub fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// What is kept of the history, in words; unset when all of it is.
    pub fn gaps(&self) -> Option<String> {
        match (&self.head, self.shallow) {
            (None, _) => Some("the repository has no commit yet".to_owned()),
            (_, true) => Some("the clone is shallow: older history is not in it".to_owned()),
            (_, false) => None,
        }
    }

    /// Refuses a bare repository.
    pub(super) fn work_tree(&self) -> Result<&Path, SkillError> {
        if self.bare { Err(SkillError::BareRepository(self.root.clone())) } else { Ok(&self.root) }
    }

    /// Runs git and takes what it writes, up to 64 MiB.
    pub(super) fn git(&self, args: &[&str]) -> Result<Answer, SkillError> {
        self.git_with(args, Vec::new())
    }

    /// The same, for a command that reads.
    pub(super) fn git_with(&self, args: &[&str], stdin: Vec<u8>) -> Result<Answer, SkillError> {
        let command = args.first().copied().unwrap_or_default().to_owned();
        let output = self
            .commands
            .run(&self.invocation(args, stdin))
            .map_err(|source| SkillError::Start { program: "git".to_owned(), source })?;
        match output.end {
            End::Exited(0) | End::Overflowed => {
                let truncated = output.stdout.dropped || output.stdout.unfinished;
                Ok(Answer { bytes: output.stdout.bytes, truncated })
            }
            End::Exited(_) => Err(SkillError::Git { command, message: text::tail(&output.stderr, 500) }),
            End::TimedOut => Err(SkillError::TimedOut {
                command: format!("git {command}"),
                seconds: TIMEOUT.as_secs_f64(),
            }),
            End::Cancelled => Err(SkillError::Cancelled { command: format!("git {command}") }),
        }
    }

    fn invocation(&self, args: &[&str], stdin: Vec<u8>) -> Invocation {
        let mut invocation = Invocation::new("git", TIMEOUT)
            .args([OsStr::new("-C"), self.root.as_os_str()])
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .args(args.iter().copied())
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1");
        invocation.without_env = MISLEADING.iter().map(|&key| key.to_owned()).collect();
        invocation.stdin = stdin;
        invocation.stdout = Keep::First(OUTPUT);
        invocation
    }

    /// Runs git and takes its output as text without the last line break.
    fn line(&self, args: &[&str]) -> Result<String, SkillError> {
        Ok(shown(self.path(args)?.as_os_str().as_bytes()))
    }

    /// The same as a path, byte for byte.
    fn path(&self, args: &[&str]) -> Result<PathBuf, SkillError> {
        let mut bytes = self.git(args)?.bytes;
        bytes.pop_if(|last| *last == b'\n');
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// The files of the present commit with their sizes in bytes, without a work tree.
    pub(super) fn committed(&self) -> Result<Vec<Committed>, SkillError> {
        let Some(head) = &self.head else { return Ok(Vec::new()) };
        let answer = self.git(&["ls-tree", "-r", "-l", "-z", "--full-tree", head])?;
        Ok(records(&answer.bytes, 0).filter_map(Committed::parse).collect())
    }
}

/// A file of the present commit.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    /// Id of its content.
    pub(super) object: String,
    /// Size in bytes.
    pub(super) bytes: u64,
    /// Path from the top, in the bytes that git keeps.
    pub(super) path: Vec<u8>,
}

impl Committed {
    /// Reads `<mode> blob <object> <size>\t<path>`; what is no file has no size.
    fn parse(record: &[u8]) -> Option<Self> {
        let at = record.iter().position(|&byte| byte == b'\t')?;
        let facts: Vec<_> = std::str::from_utf8(&record[..at]).ok()?.split_whitespace().collect();
        let [_, "blob", object, bytes] = facts[..] else { return None };
        Some(Self {
            object: object.to_owned(),
            bytes: bytes.parse().ok()?,
            path: record[at + 1..].to_owned(),
        })
    }
}

/// The records between separators; empty ones are left out.
pub(super) fn records(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |&byte| byte == separator).filter(|record| !record.is_empty())
}

/// Bytes as they are shown; a path in them is no path any more when they are no UTF-8.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The repository is damaged.
fn unreadable(what: &str) -> SkillError {
    SkillError::Git { command: "rev-parse".to_owned(), message: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skills::repo::fixture::Fixture;

    fn open(path: &Path) -> Result<Repository, SkillError> {
        Repository::open(&Commands::default(), &path.display().to_string())
    }

    #[test]
    fn folder_in_a_repository_leads_to_its_top() {
        let fixture = Fixture::new().file("src/main.rs", "fn main() {}\n").commit("Begin");
        let repository = open(&fixture.path().join("src")).unwrap();
        assert_eq!(repository.root(), fixture.path().canonicalize().unwrap());
        assert!(repository.head().is_some() && repository.gaps().is_none());
    }

    #[test]
    fn plain_folder_is_not_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open(folder.path()), Err(SkillError::NotARepository(_))));
        assert!(matches!(open(&folder.path().join("absent")), Err(SkillError::NotARepository(_))));
    }

    #[test]
    fn relative_path_is_refused_by_name() {
        let error = Repository::open(&Commands::default(), "here").unwrap_err();
        assert_eq!(error.to_string(), "with.repo: must be an absolute path, not `here`");
    }

    #[test]
    fn repository_without_commits_says_so() {
        let repository = open(Fixture::new().path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(repository.gaps().as_deref(), Some("the repository has no commit yet"));
    }

    #[test]
    fn bare_and_shallow_clones_are_told_apart() {
        let fixture = Fixture::new().file("a", "1").commit("One").file("a", "2").commit("Two");
        let bare = open(&fixture.clone_into("bare.git", &["--bare"])).unwrap();
        assert!(matches!(bare.work_tree(), Err(SkillError::BareRepository(_))));
        let shallow = open(&fixture.clone_into("shallow", &["--depth=1"])).unwrap();
        assert!(shallow.is_shallow() && shallow.gaps().unwrap().contains("shallow"));
    }

    #[test]
    fn damaged_repository_is_not_taken_for_an_empty_one() {
        let fixture = Fixture::new().file("a", "1").commit("One");
        std::fs::remove_dir_all(fixture.path().join(".git/objects")).unwrap();
        std::fs::create_dir(fixture.path().join(".git/objects")).unwrap();
        let error = open(fixture.path()).unwrap_err();
        assert!(error.reason() == "GIT_FAILED" && error.to_string().contains("cannot be read"), "{error}");

        let fixture = Fixture::new().file("a", "1").commit("One").file(".git/refs/heads/main", "no id\n");
        let error = open(fixture.path()).unwrap_err();
        assert!(error.reason() == "GIT_FAILED" && error.to_string().contains("present branch"), "{error}");
    }

    #[test]
    fn folder_that_ends_with_a_space_is_a_folder() {
        let fixture = Fixture::new().file("a", "1").commit("One");
        let clone = fixture.clone_into("name ", &[]);
        assert_eq!(open(&clone).unwrap().root(), clone.canonicalize().unwrap());
    }

    #[test]
    fn folder_outside_of_its_work_tree_is_refused_for_good() {
        let fixture = Fixture::new().file("a", "1").commit("One");
        let elsewhere = tempfile::tempdir().unwrap();
        let in_git = open(&fixture.path().join(".git")).unwrap_err();
        fixture.git(&["config", "core.worktree", &elsewhere.path().display().to_string()]);
        for error in [in_git, open(fixture.path()).unwrap_err()] {
            assert!(error.reason() == "NOT_A_WORK_TREE" && error.is_permanent(), "{error}");
        }
    }

    #[test]
    fn repository_of_a_stranger_runs_nothing() {
        let fixture = Fixture::new().file("a", "1").commit("One");
        let mark = fixture.path().join("ran");
        fixture.git(&["config", "core.fsmonitor", &format!("touch {}", mark.display())]);
        let repository = open(fixture.path()).unwrap();
        repository.git(&["ls-files", "--others"]).unwrap();
        assert!(!mark.exists());
    }
}
