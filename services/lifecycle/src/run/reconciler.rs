//! Makes the processes that run the ones that open runs want. A reconciler: it takes no input, may
//! run at any time and any number of times. It heals what a driver does once: a node agent that was
//! killed comes back empty, and a driver that was killed may have left a process behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::mesh::{Mesh, MeshError};
use super::wants::Wants;

/// Looks once: starts what is wanted and does not run, stops what runs and is not wanted.
/// Says whether there was anything to look at.
pub async fn reconcile(mesh: &dyn Mesh, wants: &Wants, stray_before: bool) -> Result<bool, MeshError> {
    let wanted = wants.all();
    if wanted.is_empty() && !stray_before {
        return Ok(false);
    }
    let alive: BTreeMap<String, String> = mesh
        .processes()
        .await?
        .into_iter()
        .filter(|process| process.alive)
        .map(|process| (process.id, process.agent))
        .collect();
    for process in wanted.iter().filter(|process| !alive.contains_key(&process.id())) {
        let _turn = wants.turn(process.agent.as_ref()).await;
        // Asked again: runs begin and end meanwhile.
        if wants.has_process(&process.id()) {
            tracing::info!(process = process.id(), "an open run wants a process that does not run");
            mesh.start_process(process).await?;
        }
    }
    for (id, agent) in alive {
        let _turn = wants.turn(&agent).await;
        if !wants.has_process(&id) {
            tracing::info!(process = id, "no open run wants this process");
            mesh.stop_process(&id).await?;
        }
    }
    Ok(!wants.all().is_empty())
}

/// Looks again and again, until the daemon drains; without open runs only at first and once after them.
pub async fn keep_reconciled(mesh: Arc<dyn Mesh>, wants: Wants, every: Duration, drain: CancellationToken) {
    let mut stray = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = drain.cancelled() => return,
        }
        match nova_rpc::trace::unrecorded(reconcile(mesh.as_ref(), &wants, stray)).await {
            Ok(wanted) => stray = wanted,
            Err(error) => tracing::warn!(%error, "agents' processes could not be reconciled"),
        }
    }
}
