//! The other daemons, as runs need them, over their gRPC services.

mod node;
mod policy;
mod queue;

use async_trait::async_trait;
use nova_proto::identity::v1::RegisterAgentRequest;
use nova_types::{AgentId, Namespace, RunId};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::run::{AgentProcess, Denial, Mesh, MeshError, ProcessView, Stored, TaskSpec, TaskView, Watch};

/// Clients of the other daemons.
#[derive(Clone, Debug)]
pub(crate) struct Peers(nova_client::Mesh);

impl Peers {
    pub(crate) fn new(mesh: nova_client::Mesh) -> Self {
        Self(mesh)
    }
}

#[async_trait]
impl Mesh for Peers {
    async fn enqueue(&self, namespace: &Namespace, tasks: &[TaskSpec]) -> Result<Vec<Stored>, MeshError> {
        queue::enqueue(&self.0, namespace, tasks).await
    }

    async fn cancel_tasks(
        &self,
        namespace: &Namespace,
        run: RunId,
        queue: &str,
        why: &str,
    ) -> Result<(), MeshError> {
        queue::cancel(&self.0, namespace, run, queue, why).await
    }

    async fn task(&self, namespace: &Namespace, task_id: &str) -> Result<Option<TaskView>, MeshError> {
        queue::task(&self.0, namespace, task_id).await
    }

    async fn watch(
        &self,
        namespace: &Namespace,
        run: RunId,
        cursor: Option<String>,
    ) -> Result<Watch, MeshError> {
        queue::watch(&self.0, namespace, run, cursor).await
    }

    async fn register_identity(&self, namespace: &Namespace, agent: &AgentId) -> Result<(), MeshError> {
        let request = RegisterAgentRequest { namespace: namespace.to_string(), agent_id: agent.to_string() };
        self.0.identity().register_agent(request).await.map_err(|status| error(&status))?;
        Ok(())
    }

    async fn start_process(&self, process: &AgentProcess) -> Result<(), MeshError> {
        node::start(&self.0, process).await
    }

    async fn stop_process(&self, id: &str) -> Result<(), MeshError> {
        node::stop(&self.0, id).await
    }

    async fn processes(&self) -> Result<Vec<ProcessView>, MeshError> {
        node::list(&self.0).await
    }

    async fn denials(&self, trace_id: &str) -> Result<Vec<Denial>, MeshError> {
        policy::denials(&self.0, trace_id).await
    }
}

/// What a failed call means for a run: try again, give it up, or list.
fn error(status: &Status) -> MeshError {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let message = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::OutOfRange if reason == "CURSOR_EXPIRED" => MeshError::CursorExpired,
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => {
            MeshError::Refused(message)
        }
        Code::Aborted if reason == "IDEMPOTENCY_MISMATCH" => MeshError::Refused(message),
        Code::Unimplemented => MeshError::Refused(message),
        _ => MeshError::Unavailable(message),
    }
}
