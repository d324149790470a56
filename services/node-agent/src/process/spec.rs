//! What to run, as it was asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nova_types::{AgentId, ProcessId};

/// The name of this mesh's own runner; the configuration says which command it is.
pub const RUNNER: &str = "nova-runner";

/// What to run. Two specs that are equal ask for the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Names the process: one of a name runs at a time.
    pub id: ProcessId,
    /// What it executes.
    pub program: Program,
    /// Arguments, without the program's own name.
    pub args: Vec<String>,
    /// Variables, over those that every process inherits.
    pub environment: BTreeMap<String, String>,
    /// Where it starts; none means the daemon's own directory.
    pub working_directory: Option<PathBuf>,
    /// Whether it is started again when it ended badly.
    pub restart: Restart,
    /// The agent whose credentials it is handed.
    pub agent: Option<AgentId>,
    /// Limits of each of its processes.
    pub limits: Limits,
    /// Labels to find it by.
    pub labels: BTreeMap<String, String>,
}

/// What a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// This mesh's own runner.
    Runner,
    /// An absolute path, which the configuration must allow.
    Path(PathBuf),
}

/// When an ended process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Not at all.
    Never,
    /// When it ended badly: with another exit code than 0, or by a signal that nobody asked for.
    OnFailure,
}

/// Limits of each process of a group; none means that of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Address space in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time in seconds.
    pub cpu_seconds: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
}

impl Spec {
    /// Whether it carries all of `wanted`.
    pub fn has_labels(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}
