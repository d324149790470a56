//! Work in the background that can be left out: what a caller sees never depends on it.

use std::sync::Arc;
use std::time::Duration;

use nova_runtime::fenced;
use nova_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::records::Records;

const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);

/// Forgets the marks of leases that ended long ago.
pub(crate) async fn sweep(records: Records, clock: Arc<dyn Clock>, drain: CancellationToken) {
    let passes = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            match fenced::sweep(records.kv(), clock.as_ref()).await {
                Ok(count) => tracing::debug!(count, "forgot marks of leases"),
                Err(error) => tracing::warn!(%error, "marks of leases are forgotten later"),
            }
        }
    };
    drain.run_until_cancelled(passes).await;
}
