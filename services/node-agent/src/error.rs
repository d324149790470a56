//! What can go wrong, and how a caller sees it.

use std::time::Duration;

use nova_rpc::Reason;
use nova_types::ProcessId;

/// What can go wrong with a process.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no process of that id.
    #[error("process {0} is not known to this node")]
    NotFound(ProcessId),
    /// A process of that id runs, and it was asked for in another way.
    #[error("process {0} runs already with another spec; stop it first, or choose another id")]
    SpecDiffers(ProcessId),
    /// A process of that id is about to end.
    #[error("process {0} is stopping; start it again when it has ended")]
    Stopping(ProcessId),
    /// The configuration does not allow the program.
    #[error("program {0:?} is not allowed on this node; use \"nova-runner\", or add it to allowed_programs")]
    ProgramNotAllowed(String),
    /// The configuration does not say what the runner is.
    #[error("this node has no runner; set runner_command in its configuration")]
    NoRunner,
    /// The node runs as many as it may.
    #[error("{0} processes run on this node, which is the most it may; stop one, or raise max_processes")]
    TooManyProcesses(usize),
    /// As many streams are open as may be.
    #[error("{0} streams are open on this node, which is the most it may; close one, or raise max_streams")]
    TooManyStreams(usize),
    /// The operating system would not start it.
    #[error("{program} cannot be started: {cause}")]
    CannotStart {
        /// The program's path.
        program: String,
        /// What the operating system said.
        cause: String,
    },
    /// What the process needs to prove itself could not be had.
    #[error("credentials for agent {agent} are not to be had: {cause}")]
    Credentials {
        /// The agent.
        agent: String,
        /// What was said.
        cause: String,
    },
    /// The daemon is about to end.
    #[error("this node is draining and starts nothing")]
    Draining,
    /// Something of the daemon's own failed.
    #[error("{0}")]
    Internal(String),
}

impl From<Error> for nova_rpc::Error {
    fn from(error: Error) -> Self {
        const RESOURCE: &str = "nova.node.v1.Process";
        const SOON: Duration = Duration::from_secs(1);
        let message = error.to_string();
        match error {
            Error::NotFound(id) => Self::not_found(RESOURCE, id),
            Error::SpecDiffers(id) => Self::already_exists(RESOURCE, id, message),
            Error::Stopping(id) => {
                Self::precondition(Reason::IllegalTransition, message).with_resource(RESOURCE, id)
            }
            Error::ProgramNotAllowed(_) | Error::NoRunner => {
                Self::precondition(Reason::ProgramNotAllowed, message)
            }
            Error::TooManyProcesses(_) | Error::TooManyStreams(_) => {
                Self::exhausted(Reason::Overloaded, message, SOON)
            }
            Error::CannotStart { .. } => Self::precondition(Reason::ProcessNotStarted, message),
            Error::Credentials { .. } => Self::unavailable("identity", message),
            Error::Draining => Self::unavailable("node", message),
            Error::Internal(_) => Self::internal(&error),
        }
    }
}
