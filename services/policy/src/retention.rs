//! Keeps the record of decisions at its size.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::decisions::Decisions;

/// Wait after the store failed.
const STORE_AWAY: Duration = Duration::from_secs(1);

/// Learns what is kept from before, then lets the oldest go as new ones come, until `shutdown`.
pub(crate) async fn run(decisions: Decisions, shutdown: CancellationToken) {
    tokio::select! {
        () = keep(&decisions) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn keep(decisions: &Decisions) {
    while let Err(error) = decisions.learn().await {
        tracing::warn!(%error, "the record of decisions cannot be read yet");
        tokio::time::sleep(STORE_AWAY).await;
    }
    loop {
        if let Err(error) = decisions.trim().await {
            tracing::warn!(%error, "old decisions cannot be let go yet");
            tokio::time::sleep(STORE_AWAY).await;
        }
        decisions.grown().await;
    }
}
