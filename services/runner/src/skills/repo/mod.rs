//! What a git repository holds: its size, languages, dependencies, history, and what should not be in it.
//!
//! Nothing here runs code of the repository, but for `repo.tests`, which must be asked to.

use serde::Deserialize;

use super::{Request, SkillError};

pub mod blobs;
pub mod build;
pub mod dependencies;
pub mod history;
pub mod hotfiles;
pub mod languages;
pub mod secrets;
pub mod size;
pub mod testing;

mod census;
#[cfg(test)]
mod fixture;
mod git;
mod language;
mod manifests;
mod tree;

pub use git::Repository;

/// What most of these skills are given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryInput {
    /// Absolute path of the repository, or of a folder in it.
    repo: String,
}

/// Opens the repository that the step names.
fn open(request: &Request) -> Result<Repository, SkillError> {
    let input: RepositoryInput = request.step.with()?;
    Repository::open(&request.commands, &input.repo)
}
