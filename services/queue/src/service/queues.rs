//! GetQueue, UpdateQueue, and what a queue lets through.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_types::{Violation, Violations, wire as check};
use tonic::Status;

use crate::{
    Error,
    record::{Intake, Percentiles, PerformanceView, QueueSettings, QueueView},
    service::{QueueService, lists, parse, unary::refused, wire},
};

/// Fields of the settings that a mask may name.
const FIELDS: [&str; 3] = ["max_tasks", "keep_for", "keep_bytes"];

/// How long ended tasks may be kept.
const KEEP: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);

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
    let change = change(request).map_err(refused)?;
    let view = service.store.configure(&namespace, &name, change).await?;
    Ok(pb::UpdateQueueResponse { queue: Some(service.shown(&namespace, view)) })
}

/// Opens, pauses or drains a queue.
pub(super) async fn let_through(
    service: &QueueService,
    namespace: &str,
    name: &str,
    intake: Intake,
) -> Result<pb::Queue, Status> {
    let (namespace, name) = named(namespace, name).map_err(refused)?;
    let view = service.store.configure(&namespace, &name, move |settings| settings.intake = intake).await?;
    Ok(service.shown(&namespace, view))
}

fn named(namespace: &str, name: &str) -> Result<(Arc<str>, Arc<str>), Violations> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(namespace));
    let name = violations.take(parse::queue(name));
    violations.finish()?;
    Ok((namespace.unwrap_or_default(), name.unwrap_or_default()))
}

/// What an update does to the settings, once all of it is known to be right.
fn change(
    request: pb::UpdateQueueRequest,
) -> Result<impl FnOnce(&mut QueueSettings) + Send + 'static, Violations> {
    let mut violations = Violations::new();
    let Some(wire) = request.settings else {
        return Err(Violation::new("settings", "must be set").into());
    };
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    for (index, path) in paths.iter().enumerate() {
        let field = format!("update_mask.paths[{index}]");
        let rule = format!("{path:?} must be one of {}", FIELDS.join(", "));
        violations.require(FIELDS.contains(&path.as_str()), &field, &rule);
    }
    let keep_for = check::duration("settings.keep_for", wire.keep_for.as_ref(), KEEP, Duration::ZERO);
    let keep_for = violations.take(keep_for).filter(|keep| !keep.is_zero());
    violations.finish()?;
    let named = move |field: &str, set: bool| {
        if paths.is_empty() { set } else { paths.iter().any(|path| path == field) }
    };
    Ok(move |settings: &mut QueueSettings| {
        if named("max_tasks", wire.max_tasks > 0) {
            settings.max_tasks = Some(wire.max_tasks).filter(|limit| *limit > 0);
        }
        if named("keep_for", keep_for.is_some()) {
            settings.keep_for = keep_for;
        }
        if named("keep_bytes", wire.keep_bytes > 0) {
            settings.keep_bytes = Some(wire.keep_bytes).filter(|limit| *limit > 0);
        }
    })
}

impl QueueService {
    fn shown(&self, namespace: &str, view: QueueView) -> pb::Queue {
        let now = self.runtime.clock().now().micros();
        pb::Queue {
            namespace: namespace.to_owned(),
            name: view.stats.queue.to_string(),
            intake: wire::intake(view.settings.intake).into(),
            settings: Some(settings(&view.settings)),
            stats: Some(lists::stats(view.stats, now)),
            performance: Some(performance(&view.performance)),
        }
    }
}

fn settings(settings: &QueueSettings) -> pb::QueueSettings {
    pb::QueueSettings {
        max_tasks: settings.max_tasks.unwrap_or(0),
        keep_for: settings.keep_for.map(check::to_duration),
        keep_bytes: settings.keep_bytes.unwrap_or(0),
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
