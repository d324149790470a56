//! Makes the processes that run the ones that open runs want. A reconciler: it takes no input, may
//! run at any time and any number of times. It heals what a driver does once: a node agent that was
//! killed comes back empty, and a driver that was killed may have left a process behind.

use std::collections::BTreeSet;
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
    let alive: BTreeSet<String> = mesh
        .processes()
        .await?
        .into_iter()
        .filter(|process| process.alive)
        .map(|process| process.id)
        .collect();
    // Read again: what became wanted meanwhile must not be stopped.
    let wanted_now: BTreeSet<String> = wants.all().iter().map(super::AgentProcess::id).collect();
    for process in wanted.iter().filter(|process| !alive.contains(&process.id())) {
        if wanted_now.contains(&process.id()) {
            tracing::info!(process = process.id(), "an open run wants a process that does not run");
            mesh.start_process(process).await?;
        }
    }
    for stray in alive.iter().filter(|id| !wanted_now.contains(*id)) {
        tracing::info!(process = stray, "no open run wants this process");
        mesh.stop_process(stray).await?;
    }
    Ok(!wanted_now.is_empty())
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
