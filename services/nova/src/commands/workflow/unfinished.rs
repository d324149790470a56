//! Runs that have not ended are gone on with by whatever mesh comes up, and left by one that goes down: both are told.

use std::time::Duration;

use nova_client::Mesh;
use nova_proto::lifecycle::v1::{ListRunsRequest, Run};
use tokio::time::timeout;

use crate::commands::output;

/// How long to look for them: what is told besides must not hold up what was asked for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Runs that are told by name.
const TOLD: u32 = 20;

/// Tells which runs a mesh that has just come up goes on with.
pub(crate) async fn tell_resumed(mesh: &Mesh) {
    for run in unfinished(mesh).await {
        let plan = output::printable(&run.plan);
        tell!("nova: unfinished run {} of {plan} goes on; `nova workflow watch {0}` follows it", run.id);
    }
}

/// Tells which runs a mesh that goes down leaves.
pub(crate) async fn tell_left(mesh: &Mesh) {
    for run in unfinished(mesh).await {
        tell!("nova: {}", left(&format!("{} of {}", run.id, output::printable(&run.plan))));
    }
}

/// What becomes of a run whose mesh is down.
pub(crate) fn left(run: &str) -> String {
    format!("run {run} is left unfinished; the next `nova up` goes on with it")
}

/// The latest of them; none when the lifecycle daemon cannot be asked.
async fn unfinished(mesh: &Mesh) -> Vec<Run> {
    let request = ListRunsRequest { page_size: TOLD, running: true, ..Default::default() };
    match timeout(PATIENCE, mesh.workflows().list_runs(request)).await {
        Ok(Ok(page)) => page.into_inner().runs,
        _ => Vec::new(),
    }
}
