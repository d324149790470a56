//! GetQueue, UpdateQueue, DeleteQueue, and what a queue lets through.

use std::sync::Arc;

use nova_proto::queue::v1 as pb;
use nova_types::{Violations, wire as check};
use tonic::Status;

use crate::{
    Error,
    intake::Intake,
    record::{Percentiles, PerformanceView, QueueView},
    service::{QueueService, lists, parse, settings, unary::refused, wire},
};

/// Reads a queue.
pub(super) async fn get(
    service: &QueueService,
    request: pb::GetQueueRequest,
) -> Result<pb::GetQueueResponse, Status> {
    let (namespace, name) = named(&request.namespace, &request.queue).map_err(refused)?;
    let found = service.store.queue(&namespace, &name).await?;
    let view = found.ok_or_else(|| Error::NoQueue(name.to_string()))?;
    Ok(pb::GetQueueResponse { queue: Some(service.shown(&namespace, view)) })
}

/// Changes settings.
pub(super) async fn update(
    service: &QueueService,
    request: pb::UpdateQueueRequest,
) -> Result<pb::UpdateQueueResponse, Status> {
    let (namespace, name) = named(&request.namespace, &request.queue).map_err(refused)?;
    let change = settings::change(request.settings, request.update_mask, service.longest_kept);
    let change = change.map_err(refused)?;
    let view = service.store.configure(&namespace, &name, change).await?;
    Ok(pb::UpdateQueueResponse { queue: Some(service.shown(&namespace, view)) })
}

/// Opens, pauses or drains a queue: makes of what it lets through what it shall let through.
pub(super) async fn let_through(
    service: &QueueService,
    namespace: &str,
    name: &str,
    change: impl Fn(Intake) -> Intake + Send + 'static,
) -> Result<pb::Queue, Status> {
    let (namespace, name) = named(namespace, name).map_err(refused)?;
    let view = service
        .store
        .configure(&namespace, &name, move |settings| settings.intake = change(settings.intake))
        .await?;
    Ok(service.shown(&namespace, view))
}

/// Deletes a queue.
pub(super) async fn delete(
    service: &QueueService,
    request: pb::DeleteQueueRequest,
) -> Result<pb::DeleteQueueResponse, Status> {
    let (namespace, name) = named(&request.namespace, &request.queue).map_err(refused)?;
    service.store.delete_queue(&namespace, &name, request.force).await?;
    Ok(pb::DeleteQueueResponse {})
}

fn named(namespace: &str, name: &str) -> Result<(Arc<str>, Arc<str>), Violations> {
    Violations::both(parse::namespace(namespace), parse::queue(name))
}

impl QueueService {
    fn shown(&self, namespace: &str, view: QueueView) -> pb::Queue {
        let now = self.runtime.clock().now().micros();
        pb::Queue {
            namespace: namespace.to_owned(),
            name: view.stats.queue.to_string(),
            intake: wire::intake(view.settings.intake).into(),
            settings: Some(settings::shown(view.settings)),
            stats: Some(lists::stats(view.stats, now)),
            performance: Some(performance(&view.performance)),
        }
    }
}

fn performance(view: &PerformanceView) -> pb::QueuePerformance {
    let counts = view.counts;
    pb::QueuePerformance {
        since: wire::time(view.since),
        enqueued: counts.enqueued,
        started: counts.started,
        completed: counts.completed,
        failed: counts.failed,
        expired: counts.expired,
        dead: counts.dead,
        cancelled: counts.cancelled,
        wait: view.wait.map(summary),
        run: view.run.map(summary),
    }
}

fn summary(percentiles: Percentiles) -> pb::DurationSummary {
    let shown = |duration| Some(check::to_duration(duration));
    pb::DurationSummary {
        p50: shown(percentiles.p50),
        p95: shown(percentiles.p95),
        p99: shown(percentiles.p99),
    }
}
