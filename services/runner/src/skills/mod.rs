//! What an agent can do: skills by kind, each bounded in time, files and bytes.
//!
//! A skill is a function from a [`Request`] to an [`Outcome`]; it blocks and knows nothing of the
//! mesh. The two that are about the mesh are apart: [`mesh_call`] and [`memory_summary`].
//!
//! Whatever it read, its findings and errors leave it through [`Outcome::of`] and [`SkillError::told`] alone,
//! where secrets of a known form are masked.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::commands::Commands;
use crate::step::StepTask;

pub mod host;
pub mod memory_summary;
pub mod mesh_call;
pub mod repo;
pub mod shell;

mod error;
mod secret;
mod text;

pub use error::SkillError;

/// What a skill is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The step.
    pub step: StepTask,
    /// Which attempt at it this is, from 1.
    pub attempt: u32,
    /// Longest time of the attempt; none where the step names none.
    pub time: Option<Duration>,
    /// How deep this run is nested in the test commands of other runs; 0 outside of any.
    pub depth: u32,
    /// The present time, in seconds since the epoch.
    pub now: i64,
    /// Runs child processes until the task is taken away.
    pub commands: Commands,
}

/// What a skill answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// For people, and for the memory's search.
    pub summary: String,
    /// The finding, a JSON object.
    pub data: Value,
    /// What it is to be remembered as.
    pub importance: f64,
}

/// Something that a skill found.
pub trait Finding: Serialize {
    /// A few lines for people.
    fn summary(&self) -> String;

    /// How much it matters, 0 to 1.
    fn importance(&self) -> f64 {
        0.5
    }
}

impl Outcome {
    /// Turns a finding into an answer, in which the secrets that have a known form are masked.
    pub fn of(finding: &impl Finding) -> Result<Self, SkillError> {
        let data = serde_json::to_value(finding).map_err(SkillError::Encode)?;
        let (summary, data) = (secret::masked(&finding.summary()), secret::masked_value(data));
        Ok(Self { summary, importance: finding.importance(), data })
    }
}

/// A skill that blocks and needs nothing of the mesh.
pub type Skill = fn(&Request) -> Result<Outcome, SkillError>;

/// Every such skill with the kind of task that it serves.
pub const ALL: &[(&str, Skill)] = &[
    ("host.cpu", host::cpu::run),
    ("host.memory", host::memory::run),
    ("host.disk", host::disk::run),
    ("host.gpu", host::gpu::run),
    ("host.network", host::network::run),
    ("host.ports", host::ports::run),
    ("repo.size", repo::size::run),
    ("repo.languages", repo::languages::run),
    ("repo.dependencies", repo::dependencies::run),
    ("repo.history", repo::history::run),
    ("repo.hotfiles", repo::hotfiles::run),
    ("repo.blobs", repo::blobs::run),
    ("repo.secrets", repo::secrets::run),
    ("repo.build", repo::build::run),
    ("repo.tests", repo::testing::run),
    ("shell", shell::run),
];
