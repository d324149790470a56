//! Why a skill could not answer, and whether another attempt may help.

use std::io;
use std::path::PathBuf;

use super::secret::masked;

/// Why a skill could not answer.
#[derive(Debug, thiserror::Error)]
pub enum SkillError {
    /// The step's parameters are not what the skill takes.
    #[error("{0}")]
    Input(String),
    /// The path is not inside a git repository.
    #[error("{} is not a git repository", .0.display())]
    NotARepository(PathBuf),
    /// The skill looks at files, and a bare repository has none.
    #[error("{} is a bare repository: it has no work tree to examine", .0.display())]
    BareRepository(PathBuf),
    /// The skill looks at files, and the folder is in no work tree: a `.git` folder, or its work tree is elsewhere.
    #[error("{} is not in the work tree of its repository", .0.display())]
    NotAWorkTree(PathBuf),
    /// git failed.
    #[error("git {command} failed: {message}")]
    Git {
        /// Its subcommand.
        command: String,
        /// The end of what it said.
        message: String,
    },
    /// A command took too long.
    #[error("stopped after {seconds} s: `{command}`")]
    TimedOut {
        /// What ran.
        command: String,
        /// Its bound, in seconds.
        seconds: f64,
    },
    /// The task was taken away meanwhile.
    #[error("stopped, for the task was taken away: `{command}`")]
    Cancelled {
        /// What ran.
        command: String,
    },
    /// A command ended badly.
    #[error("exited with {code}: `{command}`{}", said(stderr))]
    Command {
        /// What ran.
        command: String,
        /// Its exit code; 128 + n after signal n.
        code: i32,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// The host did not answer.
    #[error("cannot read {what}")]
    Host {
        /// What was looked at.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A finding could not be written as JSON.
    #[error("the finding cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl SkillError {
    /// A stable name for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Input(_) => "INVALID_INPUT",
            Self::NotARepository(_) => "NOT_A_REPOSITORY",
            Self::BareRepository(_) => "BARE_REPOSITORY",
            Self::NotAWorkTree(_) => "NOT_A_WORK_TREE",
            Self::Git { .. } => "GIT_FAILED",
            Self::TimedOut { .. } => "TIMED_OUT",
            Self::Cancelled { .. } => "CANCELLED",
            Self::Command { .. } => "COMMAND_FAILED",
            Self::Host { .. } => "HOST_UNREADABLE",
            Self::Start { .. } => "CANNOT_START",
            Self::Encode(_) => "BAD_FINDING",
        }
    }

    /// What went wrong and why, in which the secrets that have a known form are masked.
    pub fn told(&self) -> String {
        let chain = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        masked(&chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }

    /// True when another attempt would end the same way.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Input(_)
                | Self::NotARepository(_)
                | Self::BareRepository(_)
                | Self::NotAWorkTree(_)
                | Self::Encode(_)
        )
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}
