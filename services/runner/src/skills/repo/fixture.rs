//! A small repository for tests, made by git itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::commands::Commands;
use crate::skills::Request;
use crate::step::StepTask;

/// A repository in a folder of its own.
pub(crate) struct Fixture {
    folder: TempDir,
    path: PathBuf,
}

impl Fixture {
    /// A repository without commits.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repo");
        fs::create_dir(&path).unwrap();
        let fixture = Self { folder, path };
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self
    }

    pub(crate) fn commit(self, subject: &str) -> Self {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", subject]);
        self
    }

    pub(crate) fn without(self, path: &str) -> Self {
        fs::remove_file(self.path().join(path)).unwrap();
        self
    }

    pub(crate) fn clone_into(&self, name: &str, args: &[&str]) -> PathBuf {
        let target = self.folder.path().join(name);
        let source = format!("file://{}", self.path().display());
        let target_text = target.display().to_string();
        self.git(&[&["clone", "-q"], args, &[&source, &target_text]].concat());
        target
    }

    pub(crate) fn git(&self, args: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(self.path())
            .env_remove("GIT_DIR")
            .env_remove("GIT_INDEX_FILE")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A request about this repository with further parameters, a JSON object.
    pub(crate) fn request(&self, with: &str) -> Request {
        request_about(self.path(), with)
    }
}

/// A request about any path.
pub(crate) fn request_about(path: &Path, with: &str) -> Request {
    let mut step = StepTask::parse(format!(r#"{{"run":"r","step":"s","with":{with}}}"#).as_bytes()).unwrap();
    step.with.insert("repo".into(), path.display().to_string().into());
    Request { step, attempt: 1, time: None, depth: 0, now: 1_800_000_000, commands: Commands::default() }
}
