//! Work in the background. Each pass can be repeated and left out: what a caller sees never depends on it.

use std::sync::Arc;
use std::time::Duration;

use nova_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::memory::{Follower, Memories};
use crate::used_tokens::UsedTokens;

const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// Changes gather this long, to be indexed together; a search does not wait for it.
const GATHER: Duration = Duration::from_millis(50);
/// Wait before a pass that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the index level with the records, so that a search finds little left to read.
pub(crate) async fn follow(follower: Arc<Follower>, drain: CancellationToken) {
    let passes = async {
        loop {
            if let Err(error) = pass(&follower).await {
                tracing::warn!(%error, "the index of memories is behind");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    drain.run_until_cancelled(passes).await;
}

async fn pass(follower: &Follower) -> Result<(), Error> {
    let revision = follower.catch_up().await?;
    follower.wait_past(revision).await?;
    tokio::time::sleep(GATHER).await;
    Ok(())
}

/// Forgets join tokens, request_ids and marks of leases that nobody can use any more.
pub(crate) async fn sweep(
    used: UsedTokens,
    memories: Memories,
    clock: Arc<dyn Clock>,
    drain: CancellationToken,
) {
    let passes = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            match swept(&used, &memories, clock.as_ref()).await {
                Ok(count) => tracing::debug!(count, "forgot what has expired"),
                Err(error) => tracing::warn!(%error, "what has expired is forgotten later"),
            }
        }
    };
    drain.run_until_cancelled(passes).await;
}

async fn swept(used: &UsedTokens, memories: &Memories, clock: &dyn Clock) -> Result<usize, Error> {
    Ok(used.sweep(clock.now()).await? + memories.sweep().await? + memories.sweep_fences().await?)
}
