//! Finds the agents that are not heard of any more. A reconciler: it takes no input, may run at
//! any time and any number of times, and only ever moves a silent agent to `unreachable`.
//! An agent that beats again is back by itself.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Agents;
use crate::error::Error;

/// Looks once at the last signs of live agents; one that was silent for longer than `patience` is unreachable.
pub async fn detect(agents: &Agents, patience: Duration) -> Result<(), Error> {
    let limit = agents.now() - patience;
    for (namespace, id) in agents.silent_since(limit).await? {
        agents.give_up(&namespace, &id, limit).await?;
    }
    Ok(())
}

/// Looks again and again, until the daemon drains.
pub async fn watch_over(agents: Agents, every: Duration, patience: Duration, drain: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = drain.cancelled() => return,
        }
        if let Err(error) = detect(&agents, patience).await {
            tracing::warn!(%error, "silent agents could not be looked for");
        }
    }
}
