//! An agent's life: join, work, beat, drain, end.

use std::collections::BTreeSet;
use std::time::Duration;

use nova_client::Mesh;
use nova_proto::lifecycle::v1::{AgentState, GetAgentRequest, HeartbeatAgentRequest};
use nova_runtime::StartError;
use nova_runtime::agent::AgentProcess;
use nova_runtime::grace;
use nova_types::{AgentId, Namespace, QueueName, Violations};
use nova_worker::{Activity, Worker, WorkerError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Arguments;
use crate::work;

/// How often the agent says that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// How long the answer to that may take.
const BEAT_PATIENCE: Duration = Duration::from_secs(3);

/// Why an agent's process ends badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("the mesh was not joined: {0}")]
    Join(StartError),
    #[error("the agent's capabilities are not known: {}", .0.message())]
    Capabilities(tonic::Status),
    #[error("the worker cannot be made: {0}")]
    Worker(Violations),
    #[error("the work ended")]
    Work(#[from] WorkerError),
}

/// Joins the mesh and works until the agent is to end.
pub(crate) async fn live(arguments: Arguments) -> Result<(), AgentError> {
    let process = AgentProcess::join("runner").await.map_err(AgentError::Join)?;
    tracing::info!(agent = %process.agent_id, "joined");
    let ended = tokio::select! {
        ended = work(&process, &arguments) => ended,
        // At once: what is left unsaid belongs to a mesh that is gone.
        () = process.gone.cancelled() => return Ok(()),
    };
    process.finish().await;
    ended
}

async fn work(process: &AgentProcess, arguments: &Arguments) -> Result<(), AgentError> {
    let agent = &process.agent_id;
    let queues = queues(&process.mesh, agent, arguments).await?;
    tracing::info!(?queues, concurrency = arguments.concurrency, "working");
    let builder = Worker::builder(process.mesh.clone())
        .namespace(arguments.namespace.as_ref())
        .queues(queues)
        .name(agent.as_ref())
        .concurrency(usize::from(arguments.concurrency))
        .lease_duration(arguments.lease_duration())
        // A step that asks for what no agent can do fails its run, and does not wait for one that can.
        .fail_unknown_kinds()
        .drain_timeout(grace::SKILL)
        .stop_timeout(grace::STOP);
    let worker = work::register(builder, agent, arguments).build().map_err(AgentError::Worker)?;
    let activity = worker.activity();
    tokio::select! {
        ended = worker.run(process.drain.clone()) => {
            tracing::info!(summary = ?ended?, "the work has ended");
            Ok(())
        }
        never = beat(&process.mesh, agent, &arguments.namespace, &activity, &process.drain) => match never {},
    }
}

/// The agent's own queue first, then what it was told, or else what it is registered for.
async fn queues(mesh: &Mesh, agent: &AgentId, arguments: &Arguments) -> Result<Vec<String>, AgentError> {
    let told = &arguments.queues;
    let mut queues = vec![QueueName::for_agent(agent).to_string()];
    let others = match told.is_empty() {
        true => capabilities(mesh, agent, &arguments.namespace).await?,
        false => told.clone(),
    };
    let mut seen = BTreeSet::from([queues[0].clone()]);
    queues.extend(others.into_iter().filter(|queue| seen.insert(queue.clone())));
    Ok(queues)
}

/// The queues of the capabilities that the agent is registered for.
async fn capabilities(
    mesh: &Mesh,
    agent: &AgentId,
    namespace: &Namespace,
) -> Result<Vec<String>, AgentError> {
    let request = GetAgentRequest { namespace: namespace.to_string(), agent_id: agent.to_string() };
    let answer = mesh.agents().get_agent(request).await.map_err(AgentError::Capabilities)?;
    let capabilities = answer.into_inner().agent.unwrap_or_default().capabilities;
    Ok(capabilities.iter().map(|name| QueueName::for_capability(name).to_string()).collect())
}

/// Says every second that the agent lives; drains when it is told to.
async fn beat(
    mesh: &Mesh,
    agent: &AgentId,
    namespace: &Namespace,
    activity: &Activity,
    drain: &CancellationToken,
) -> std::convert::Infallible {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let active_tasks = activity.tasks();
        let (namespace, agent_id) = (namespace.to_string(), agent.to_string());
        let beat = HeartbeatAgentRequest { namespace, agent_id, active_tasks };
        let mut request = tonic::Request::new(beat);
        request.set_timeout(BEAT_PATIENCE);
        match nova_rpc::trace::unrecorded(mesh.agents().heartbeat_agent(request)).await {
            Ok(answer) if answer.get_ref().state() == AgentState::Draining && !drain.is_cancelled() => {
                tracing::info!("told to drain");
                drain.cancel();
            }
            Ok(_) => {}
            Err(status) => tracing::warn!(code = ?status.code(), error = status.message(), "not heard"),
        }
    }
}
