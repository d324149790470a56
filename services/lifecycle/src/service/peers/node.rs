//! The node agent: processes of agents.

use std::collections::HashMap;

use nova_client::Mesh;
use nova_proto::node::v1 as pb;
use nova_runtime::grace;
use nova_types::wire;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::error;
use crate::run::{AgentProcess, MeshError, ProcessView};

/// Marks the processes that runs asked for; others are left alone.
const OWNER: (&str, &str) = ("managed-by", "lifecycle");

pub(super) async fn start(mesh: &Mesh, process: &AgentProcess) -> Result<(), MeshError> {
    let limits = pb::ProcessLimits {
        memory_bytes: process.limits.memory_bytes,
        cpu_seconds: process.limits.cpu_seconds,
        open_files: process.limits.open_files,
    };
    let spec = pb::ProcessSpec {
        process_id: process.id(),
        program: process.program.clone(),
        args: process.arguments(),
        environment: HashMap::new(),
        working_directory: String::new(),
        restart: pb::RestartPolicy::OnFailure.into(),
        agent_id: process.agent.to_string(),
        limits: Some(limits),
        labels: labels([("agent", process.agent.to_string()), (OWNER.0, OWNER.1.to_owned())]),
    };
    let request = pb::StartProcessRequest { spec: Some(spec) };
    mesh.node().start_process(request).await.map_err(|status| not_started(&status))?;
    Ok(())
}

/// One that is stopping was let go by a run that ended: it can be started again in a moment.
fn not_started(status: &Status) -> MeshError {
    let illegal = status.get_details_error_info().is_some_and(|info| info.reason == "ILLEGAL_TRANSITION");
    if illegal { MeshError::Unavailable(status.message().to_owned()) } else { error(status) }
}

pub(super) async fn stop(mesh: &Mesh, id: &str) -> Result<(), MeshError> {
    let grace = Some(wire::to_duration(grace::PROCESS));
    let request = pb::StopProcessRequest { process_id: id.to_owned(), grace };
    match mesh.node().stop_process(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(error(&status)),
    }
}

pub(super) async fn list(mesh: &Mesh) -> Result<Vec<ProcessView>, MeshError> {
    let request = pb::ListProcessesRequest { labels: labels([(OWNER.0, OWNER.1.to_owned())]) };
    let response = mesh.node().list_processes(request).await.map_err(|status| error(&status))?;
    Ok(response.into_inner().processes.into_iter().map(view).collect())
}

fn labels<const N: usize>(labels: [(&str, String); N]) -> HashMap<String, String> {
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn view(process: pb::Process) -> ProcessView {
    let state = process.state();
    let spec = process.spec.unwrap_or_default();
    let usage = process.usage.unwrap_or_default();
    let cpu = usage.cpu_time.and_then(|time| std::time::Duration::try_from(time).ok()).unwrap_or_default();
    ProcessView {
        id: spec.process_id,
        agent: spec.agent_id,
        alive: matches!(state, pb::ProcessState::Running | pb::ProcessState::BackingOff),
        restarts: process.restarts,
        cpu_millis: u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX),
        max_memory_bytes: usage.max_memory_bytes,
    }
}
