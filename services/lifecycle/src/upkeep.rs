//! Work in the background that can be left out: what a caller sees never depends on it.

use std::time::Duration;

use nova_storage::fence;
use tokio_util::sync::CancellationToken;

use crate::records::Records;
use crate::run::{Executor, Keep, forget_ended};

const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// Proofs of leases last for seconds; clocks are never that wrong.
const FENCES_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Forgets the marks of leases that ended long ago, and what has ended and is not to be kept.
pub(crate) async fn sweep(records: Records, executor: Executor, keep: Keep, drain: CancellationToken) {
    let passes = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let before = executor.runs.clock().now() - FENCES_KEPT;
            match fence::sweep(records.kv(), before.micros()).await {
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
