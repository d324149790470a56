//! What runs need of the other daemons: the one seam between the engine and the mesh.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;
use nova_types::{AgentId, Namespace, RunId};

use super::engine::TaskSpec;
use super::observe::TaskView;
use crate::plan::Limits;

/// Why another daemon did not do its part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
    /// It will not work this way, however often it is tried.
    #[error("{0}")]
    Refused(String),
    /// The queue's log has passed the cursor.
    #[error("the cursor of the watch has expired")]
    CursorExpired,
}

/// News of the tasks of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Where to go on after it.
    pub cursor: String,
    /// The task that changed; none in the first message.
    pub task: Option<TaskView>,
}

/// A task that the queue has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Id of the task.
    pub task_id: String,
    /// Whether it was stored before.
    pub known: bool,
}

/// A watch of a run's tasks.
pub type Watch = BoxStream<'static, Result<News, MeshError>>;

/// A process that must run while a run needs its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProcess {
    /// Agent that it drives.
    pub agent: AgentId,
    /// Namespace of the agent.
    pub namespace: Namespace,
    /// Run that asked for it first.
    pub run: RunId,
    /// Program.
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Bounds.
    pub limits: Limits,
}

impl AgentProcess {
    /// Id of the process.
    pub fn id(&self) -> String {
        format!("agent-{}", self.agent)
    }
}

/// A process as the node agent shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// Id.
    pub id: String,
    /// Agent that it drives.
    pub agent: String,
    /// Whether it runs, or is about to run again.
    pub alive: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// CPU time, milliseconds.
    pub cpu_millis: u64,
    /// Largest resident memory, bytes.
    pub max_memory_bytes: u64,
}

/// A call that policy denied, explained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// Id of the decision.
    pub decision_id: String,
    /// Who called.
    pub subject: String,
    /// What was called.
    pub method: String,
    /// Why, in a sentence.
    pub why: String,
    /// Rules that did not hold, `module:line text`.
    pub rules: Vec<String>,
    /// What would have to change, in a sentence.
    pub remedy: String,
}

/// The other daemons. Every call is idempotent: after an error it may be made again.
#[async_trait]
pub trait Mesh: Debug + Send + Sync + 'static {
    /// Stores tasks, all or none; answers in order. A task with a known request_id is the same one.
    async fn enqueue(&self, namespace: &Namespace, tasks: &[TaskSpec]) -> Result<Vec<Stored>, MeshError>;

    /// A task as it stands; none when the queue no longer keeps it.
    async fn task(&self, namespace: &Namespace, task_id: &str) -> Result<Option<TaskView>, MeshError>;

    /// News of a run's tasks from a cursor, or from now; the first message always comes, with a cursor.
    async fn watch(
        &self,
        namespace: &Namespace,
        run: RunId,
        cursor: Option<String>,
    ) -> Result<Watch, MeshError>;

    /// Gives an agent its identity.
    async fn register_identity(&self, namespace: &Namespace, agent: &AgentId) -> Result<(), MeshError>;

    /// Starts a process unless it runs.
    async fn start_process(&self, process: &AgentProcess) -> Result<(), MeshError>;

    /// Stops a process, if it is there.
    async fn stop_process(&self, id: &str) -> Result<(), MeshError>;

    /// The processes that were started for runs, ended ones included.
    async fn processes(&self) -> Result<Vec<ProcessView>, MeshError>;

    /// The calls of a trace that policy denied.
    async fn denials(&self, trace_id: &str) -> Result<Vec<Denial>, MeshError>;
}
