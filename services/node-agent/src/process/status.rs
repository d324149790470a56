//! Where a supervised process is, as everybody sees it.

use std::sync::Arc;
use std::time::Duration;

use nova_types::Timestamp;

use super::spec::Spec;

/// A supervised process as it is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// Where it is.
    pub state: State,
    /// Id of the last start's process.
    pub pid: u32,
    /// When it last started.
    pub start_time: Timestamp,
    /// How and when it last ended.
    pub ending: Option<Ending>,
    /// How often it was started again.
    pub restarts: u32,
    /// What it used, over all starts.
    pub usage: Usage,
    /// Why it is not running, for people; empty while it runs.
    pub reason: String,
}

/// Where a supervised process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Runs.
    Running,
    /// Ended, and waits to be started again.
    BackingOff,
    /// Was asked to stop and has not ended yet.
    Stopping,
    /// Ended well, or on request.
    Exited,
    /// Ended badly and is not started again.
    Failed,
}

impl State {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Exited | Self::Failed)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::BackingOff => "backing off",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Failed => "failed",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub time: Timestamp,
    /// By itself, or by a signal.
    pub cause: Cause,
}

/// What ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It left with this exit code.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Cause {
    /// Whether this is how a process ends that did what it should.
    pub fn is_success(self) -> bool {
        self == Self::Exit(0)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What a process and its descendants used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, user and system.
    pub cpu_time: Duration,
    /// Peak of resident memory, bytes: of one process of the group, or of all together at a sample, whichever is more.
    pub max_memory_bytes: u64,
}
