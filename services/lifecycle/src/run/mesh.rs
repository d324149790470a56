//! What runs need of the other daemons: the one seam between the engine and the mesh.

use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;
use nova_types::{AgentId, Namespace, QueueName, RunId};
use sha2::{Digest as _, Sha256};

use super::engine::TaskSpec;
use super::observe::TaskView;
use crate::plan::Limits;

/// The program that the node agent has for agents.
const RUNNER: &str = "nova-runner";

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

/// A process that must run while a run needs its agent. It knows no run: those that want the same share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProcess {
    /// Agent that it drives.
    pub agent: AgentId,
    /// Namespace of the agent.
    pub namespace: Namespace,
    /// Program.
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Queues that it works on.
    pub queues: BTreeSet<String>,
    /// Bounds.
    pub limits: Limits,
}

impl AgentProcess {
    /// Id of the process, `agent-<id>-<8 hex digits>`: the same agent in another shape, or in another namespace, is
    /// another process.
    pub fn id(&self) -> String {
        let limits = (self.limits.memory_bytes, self.limits.cpu_seconds, self.limits.open_files);
        let shape =
            serde_json::json!([self.namespace, self.program, self.args, self.queues, limits]).to_string();
        let digest: String = Sha256::digest(shape).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("agent-{}-{digest}", self.agent)
    }

    /// Arguments that tell the runner its namespace and its queues, unless the plan does. Other programs have their own.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = self.args.clone();
        if self.program == RUNNER {
            tell(&mut arguments, "--namespace", || self.namespace.to_string());
            tell(&mut arguments, "--queues", || self.told_queues());
        }
        arguments
    }

    fn told_queues(&self) -> String {
        let own = BTreeSet::from([QueueName::for_agent(&self.agent).to_string()]);
        let queues = if self.queues.is_empty() { &own } else { &self.queues };
        queues.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }
}

/// Adds an option that is not there yet.
fn tell(arguments: &mut Vec<String>, option: &str, value: impl FnOnce() -> String) {
    let is_it =
        |arg: &String| arg.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
    if !arguments.iter().any(is_it) {
        arguments.extend([option.to_owned(), value()]);
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

    /// Ends the tasks of a run in a queue that have not ended; who holds one is told.
    async fn cancel_tasks(
        &self,
        namespace: &Namespace,
        run: RunId,
        queue: &str,
        why: &str,
    ) -> Result<(), MeshError>;

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
