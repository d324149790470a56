//! Work in the background that can be left out: what a caller sees never depends on it.

use std::time::Duration;

use nova_runtime::fenced;
use tokio_util::sync::CancellationToken;

use crate::records::Records;
use crate::run::{Executor, Keep, forget_ended};

const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);

/// Forgets the marks of leases that ended long ago, and what has ended and is not to be kept.
pub(crate) async fn sweep(records: Records, executor: Executor, keep: Keep, drain: CancellationToken) {
    let passes = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            match fenced::sweep(records.kv(), executor.runs.clock()).await {
                Ok(count) => tracing::debug!(count, "forgot marks of leases"),
                Err(error) => tracing::warn!(%error, "marks of leases are forgotten later"),
            }
            match forget_ended(&executor.runs, &executor.sessions, keep).await {
                Ok(count) => tracing::debug!(count, "forgot runs and sessions"),
                Err(error) => tracing::warn!(%error, "runs and sessions are forgotten later"),
            }
        }
    };
    drain.run_until_cancelled(passes).await;
}
