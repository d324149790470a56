//! What operators fear, on Nova alone: a flood of tasks, and a purge of very many.

use std::time::Duration;

use anyhow::ensure;

use crate::figures::{Figures, MEBIBYTE, Measured};
use crate::mesh::{KEEP_FINISHED, MAX_WAITING_CALLS};
use crate::nova::{NovaSystem, StoreKind, Variant};
use crate::plan::Plan;
use crate::system::System as _;

/// Memory that the queue daemon may take more under a flood, beside what its standing tasks take.
const FLOOD_MEMORY: f64 = 512.0 * MEBIBYTE;
/// Memory that a standing task may take.
const TASK_MEMORY: f64 = 512.0;

/// Producers that do not rest when they are refused.
pub(crate) async fn overload(store: StoreKind, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let mut settings = plan.settings();
    settings.push((MAX_WAITING_CALLS, plan.flood_waits));
    let mut nova = NovaSystem::open(store, Variant::Tls, &settings)?;
    let flood = nova.flood(plan.flood_callers, plan.seconds).await?;
    let grown = flood.most_memory - flood.memory_before;
    let bound = FLOOD_MEMORY + TASK_MEMORY * flood.stored as f64;
    ensure!(grown <= bound, "the daemon grew by {grown} bytes under a flood of {} tasks", flood.stored);
    let (callers, waits) = (plan.flood_callers, plan.flood_waits);
    let settings = format!("{callers} callers without rest, 64 × 256 B a call, {waits} calls may wait");
    let of = Measured { scenario: "overload", system: nova.name(), settings: &settings };
    figures.add(&of, "refused", flood.refused as f64, "calls");
    figures.add(&of, "stored", flood.stored as f64, "tasks");
    figures.add(&of, "worked_per_second", flood.worked_per_second, "1/s");
    figures.add(&of, "memory_growth", grown / MEBIBYTE, "MiB");
    Ok(())
}

/// How others fare while dead letters are purged, and while nothing is.
pub(crate) async fn purge(store: StoreKind, plan: &Plan, figures: &mut Figures) -> anyhow::Result<()> {
    let mut settings = plan.settings();
    settings.push((KEEP_FINISHED, 2 * plan.dead));
    let nova = NovaSystem::open(store, Variant::Tls, &settings)?;
    nova.bury(plan.dead).await?;
    let rest = async {
        tokio::time::sleep(Duration::from_secs_f64(plan.seconds)).await;
        Ok(())
    };
    let ((), quiet) = nova.others(rest).await?;
    let ((purged, seconds), meanwhile) = nova.others(nova.purge()).await?;
    ensure!(purged == plan.dead, "{purged} tasks purged of {}", plan.dead);
    let settings = format!(
        "{} dead letters, a page at a time; 8 others enqueue one task a call, and workers complete them",
        plan.dead
    );
    let of = Measured { scenario: "purge", system: nova.name(), settings: &settings };
    figures.add(&of, "purged_per_second", purged as f64 / seconds, "1/s");
    for (when, others) in [("before", quiet), ("meanwhile", meanwhile)] {
        for (what, spread) in [("enqueue", others.enqueue), ("enqueue_to_start", others.start)] {
            figures.add(&of, &format!("{what}_p50_{when}"), spread.p50, "ms");
            figures.add(&of, &format!("{what}_p99_{when}"), spread.p99, "ms");
        }
    }
    Ok(())
}
