//! Enqueue, Lease, Heartbeat, Complete, Fail, Release.

use std::time::Duration;

use nova_proto::queue::v1 as pb;
use nova_rpc::{Caller, Lease, messaging, trace};
use nova_types::{QueueName, Violations, wire as check};
use tonic::Status;
use tracing::Span;

use crate::{
    Error,
    mark::Mark,
    metrics,
    record::{LeaseRef, LeaseRequest, Outcome, Settled, Settlement},
    service::{QueueService, parse, reserved, wire},
    task::State,
};

/// Stores tasks.
pub(super) async fn enqueue(
    service: &QueueService,
    caller: &Caller,
    lease: Option<&Lease>,
    request: pb::EnqueueRequest,
) -> Result<pb::EnqueueResponse, Status> {
    let span = sending(&request);
    let traceparent = trace::traceparent_of(&span).or_else(trace::current_traceparent).unwrap_or_default();
    let tasks = parse::tasks(request, &traceparent).map_err(refused)?;
    reserved::may_enqueue(caller, tasks.iter().map(|task| task.spec.queue.as_ref()))?;
    let lease = lease.map(|lease| wire::proven(lease, Mark::of(caller.name())));
    let receipts = service.store.enqueue_under(lease, tasks).await?;
    if let [receipt] = &receipts[..] {
        span.record(messaging::MESSAGE_ID, tracing::field::display(receipt.id));
    }
    let tasks = receipts.into_iter();
    let tasks =
        tasks.map(|receipt| pb::EnqueuedTask { id: wire::id_text(receipt.id), duplicate: receipt.duplicate });
    let durability = wire::durability(service.store.durability()).into();
    Ok(pb::EnqueueResponse { tasks: tasks.collect(), durability })
}

/// The span that tasks are sent in. Made here, so that every producer has one, in any language.
fn sending(request: &pb::EnqueueRequest) -> Span {
    let first = request.tasks.first().map(|task| task.queue.as_str());
    let queue = first.filter(|first| request.tasks.iter().all(|task| task.queue == *first));
    // The request is checked below the span: what is no name must not become one of its own.
    let queue = queue.filter(|queue| QueueName::parse("queue", queue).is_ok());
    messaging::send(queue, request.tasks.len())
}

/// Takes work; a wait ends early, and empty, when the daemon drains.
pub(super) async fn lease(
    service: &QueueService,
    caller: &Caller,
    request: pb::LeaseRequest,
) -> Result<pb::LeaseResponse, Status> {
    let request = lease_request(&request, Mark::of(caller.name())).map_err(refused)?;
    reserved::may_lease(caller, request.queues.iter().map(AsRef::as_ref))?;
    service.workers.asked(caller, &request);
    let drain = service.runtime.shutdown();
    let leases = tokio::select! {
        biased;
        leases = service.store.lease(request) => leases?,
        () = drain.cancelled() => Vec::new(),
    };
    Ok(pb::LeaseResponse { leases: leases.into_iter().map(wire::lease).collect() })
}

fn lease_request(request: &pb::LeaseRequest, mark: Mark) -> Result<LeaseRequest, Violations> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace));
    let queues = violations.take(parse::queues("queues", &request.queues));
    let worker = violations.take(parse::worker("worker", &request.worker));
    let max = violations.take(check::page_size("max_tasks", request.max_tasks, 1, 1_000));
    let duration = violations.take(parse::lease_duration("lease_duration", request.lease_duration.as_ref()));
    let waits = Duration::ZERO..=Duration::from_secs(60);
    let wait = violations.take(check::duration("wait", request.wait.as_ref(), waits, Duration::ZERO));
    violations.finish()?;
    Ok(LeaseRequest {
        namespace: namespace.unwrap_or_default(),
        queues: queues.unwrap_or_default(),
        worker: worker.unwrap_or_default(),
        max: max.unwrap_or(1),
        duration: duration.unwrap_or_default(),
        wait: wait.unwrap_or_default(),
        stream: 0,
        mark,
    })
}

/// Extends leases.
pub(super) async fn heartbeat(
    service: &QueueService,
    caller: &Caller,
    request: pb::HeartbeatRequest,
) -> Result<pb::HeartbeatResponse, Status> {
    let namespace = parse::namespace(&request.namespace).map_err(refused)?;
    let parsed = parse::heartbeat(&request.leases, request.reports, Mark::of(caller.name()));
    let (leases, reports) = parsed.map_err(refused)?;
    let duration = request.lease_duration.as_ref();
    let duration = duration.map(|value| parse::lease_duration("lease_duration", Some(value)));
    let duration = duration.transpose().map_err(refused)?;
    let told = wire::reported(&leases, &reports);
    let ends = service.store.report(&namespace, leases, reports, duration).await?;
    Ok(wire::heartbeats(&told, &ends))
}

/// Ends a task well.
pub(super) async fn complete(
    service: &QueueService,
    caller: &Caller,
    request: pb::CompleteRequest,
) -> Result<pb::CompleteResponse, Status> {
    let lease = parse::lease("lease", request.lease.as_ref(), Mark::of(caller.name())).map_err(refused)?;
    let outcome = parse::completed("result", &request.result).map_err(refused)?;
    settle(service, &request.namespace, lease, outcome).await?;
    Ok(pb::CompleteResponse {})
}

/// Ends an attempt badly.
pub(super) async fn fail(
    service: &QueueService,
    caller: &Caller,
    request: pb::FailRequest,
) -> Result<pb::FailResponse, Status> {
    let lease = parse::lease("lease", request.lease.as_ref(), Mark::of(caller.name())).map_err(refused)?;
    let failure = pb::Failure {
        error: request.error,
        permanent: request.permanent,
        retry_after: request.retry_after,
        traceparent: request.traceparent,
    };
    let outcome = parse::failed(failure).map_err(refused)?;
    let (state, ready_at) = settle(service, &request.namespace, lease, outcome).await?;
    let retry_time = if state == State::Dead { None } else { wire::time(ready_at) };
    Ok(pb::FailResponse { state: wire::state(state).into(), retry_time })
}

/// Hands a lease back.
pub(super) async fn release(
    service: &QueueService,
    caller: &Caller,
    request: pb::ReleaseRequest,
) -> Result<pb::ReleaseResponse, Status> {
    let lease = parse::lease("lease", request.lease.as_ref(), Mark::of(caller.name())).map_err(refused)?;
    let outcome = parse::released("delay", request.delay.as_ref()).map_err(refused)?;
    settle(service, &request.namespace, lease, outcome).await?;
    Ok(pb::ReleaseResponse {})
}

async fn settle(
    service: &QueueService,
    namespace: &str,
    lease: LeaseRef,
    outcome: Outcome,
) -> Result<(State, i64), Status> {
    let namespace = parse::namespace(namespace).map_err(refused)?;
    let kind = kind(&outcome);
    let settled = service.store.settle(&namespace, vec![Settlement { lease, outcome }]).await?;
    match settled.first() {
        Some(Settled::Done { state, ready_at }) => {
            metrics::settled(kind, 1);
            Ok((*state, *ready_at))
        }
        Some(Settled::Lost) | None => {
            metrics::settled("lost", 1);
            Err(Error::LeaseLost { id: lease.id, token: lease.token }.into())
        }
    }
}

/// How an outcome is counted.
pub(super) fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed(_) => "completed",
        Outcome::Failed { .. } => "failed",
        Outcome::Released | Outcome::Snoozed(_) => "released",
    }
}

/// A request that breaks a rule.
pub(super) fn refused(violations: impl Into<Violations>) -> Status {
    nova_rpc::Error::invalid(violations).into()
}
