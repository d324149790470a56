//! The files of this repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Path from the root, with slashes.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

impl File {
    /// Whether the path begins with one of these.
    pub fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Whether cargo compiles it into what runs, rather than into a test.
    pub fn is_source(&self) -> bool {
        let named_tests = self.path.ends_with("/tests.rs") || self.path.contains("/conformance/");
        self.path.contains("/src/") && !named_tests
    }
}

/// The root of the repository.
///
/// # Panics
/// When this crate has moved.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("this crate lies in tests/repo")
}

/// One file, by its path from the root.
///
/// # Panics
/// When it is not there.
#[track_caller]
pub fn file(path: &str) -> File {
    let text = fs::read_to_string(root().join(path));
    File { path: path.to_owned(), text: text.unwrap_or_else(|error| panic!("{path}: {error}")) }
}

/// All files with this extension, by path. Build outputs and hidden folders are left out.
///
/// # Panics
/// When a file cannot be read.
pub fn with_extension(extension: &str) -> Vec<File> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root, extension, &mut paths);
    paths.sort();
    let relative = |path: &PathBuf| path.strip_prefix(&root).expect("below the root").display().to_string();
    paths.iter().map(|path| file(&relative(path))).collect()
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}
