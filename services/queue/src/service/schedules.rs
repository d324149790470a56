//! PutSchedule, GetSchedule, ListSchedules, DeleteSchedule.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use nova_proto::queue::v1 as pb;
use nova_rpc::Caller;
use nova_types::{ScheduleName, Violation, Violations, wire as check};
use prost::Message as _;
use tonic::Status;

use crate::{
    Error,
    cron::{Cron, Problem},
    record::NewTask,
    schedule::{Key, LABELS, Missed, Schedule},
    service::{QueueService, lists, parse, reserved, unary::refused, wire},
};

/// Every schedule is in memory, and kept as one fact.
const PAYLOAD_BYTES: usize = 16 << 10;

/// Labels of a task, less those that the queue gives it.
const LABELS_LEFT: usize = 32 - LABELS.len();

/// Stores a schedule.
pub(super) async fn put(
    service: &QueueService,
    caller: &Caller,
    request: pb::PutScheduleRequest,
) -> Result<pb::PutScheduleResponse, Status> {
    let schedule = schedule(request).map_err(refused)?;
    reserved::may_enqueue(caller, std::iter::once(schedule.task.spec.queue.as_ref()))?;
    let stored = service.store.put_schedule(schedule).await?;
    Ok(pb::PutScheduleResponse { schedule: Some(shown(&stored)) })
}

/// Reads a schedule.
pub(super) async fn get(
    service: &QueueService,
    request: pb::GetScheduleRequest,
) -> Result<pb::GetScheduleResponse, Status> {
    let key = key(&request.namespace, "name", &request.name).map_err(refused)?;
    let found = service.store.schedule(key).await?;
    let schedule = found.ok_or(Error::NoSchedule(request.name))?;
    Ok(pb::GetScheduleResponse { schedule: Some(shown(&schedule)) })
}

/// Reads a page of schedules.
pub(super) async fn list(
    service: &QueueService,
    request: pb::ListSchedulesRequest,
) -> Result<pb::ListSchedulesResponse, Status> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace));
    let limit = violations.take(check::page_size("page_size", request.page_size, 100, 1_000)).unwrap_or(100);
    let after = violations.take(check::parse_page_token_text("page_token", &request.page_token));
    violations.finish().map_err(refused)?;
    let after = after.flatten().unwrap_or_default();
    let found = service.store.schedules(&namespace.unwrap_or_default(), after, limit + 1).await?;
    let (schedules, more) = lists::fill(found.iter().map(shown), limit);
    let last = schedules.last().filter(|_| more);
    let next_page_token = last.map(|last| check::page_token(last.name.as_bytes())).unwrap_or_default();
    Ok(pb::ListSchedulesResponse { schedules, next_page_token })
}

/// Ends a schedule.
pub(super) async fn delete(
    service: &QueueService,
    request: pb::DeleteScheduleRequest,
) -> Result<pb::DeleteScheduleResponse, Status> {
    let key = key(&request.namespace, "name", &request.name).map_err(refused)?;
    service.store.delete_schedule(key).await?;
    Ok(pb::DeleteScheduleResponse {})
}

fn key(namespace: &str, field: &str, name: &str) -> Result<Key, Violations> {
    let (namespace, name) = Violations::both(parse::namespace(namespace), ScheduleName::parse(field, name))?;
    Ok((namespace, name.as_ref().into()))
}

fn schedule(request: pb::PutScheduleRequest) -> Result<Schedule, Violations> {
    let Some(wire) = request.schedule else {
        return Err(Violation::new("schedule", "must be set").into());
    };
    let mut violations = Violations::new();
    let key = noted(&mut violations, key(&request.namespace, "schedule.name", &wire.name));
    let cron = violations.take(cron(&wire));
    let missed = violations.take(missed(wire.missed));
    let namespace = key.as_ref().map(|(namespace, _)| Arc::clone(namespace)).unwrap_or_default();
    let template = noted(&mut violations, template(wire.task, &namespace));
    violations.finish()?;
    let nothing = || Violations::from(Violation::new("schedule", "must be set"));
    let (task, said) = template.ok_or_else(nothing)?;
    Ok(Schedule {
        key: key.ok_or_else(nothing)?,
        cron: Arc::new(cron.ok_or_else(nothing)?),
        task,
        said,
        missed: missed.unwrap_or_default(),
        paused: wire.paused,
        created: 0,
        seen: 0,
        last: None,
        skipped: 0,
    })
}

/// Takes the value out of a check of several fields, or notes its violations.
fn noted<T>(violations: &mut Violations, checked: Result<T, Violations>) -> Option<T> {
    checked.map_err(|found| found.iter().for_each(|found| violations.push(found.clone()))).ok()
}

fn cron(wire: &pb::Schedule) -> Result<Cron, Violation> {
    check::text("schedule.cron", &wire.cron, 1..=256)?;
    check::text("schedule.time_zone", &wire.time_zone, 0..=64)?;
    let cron = Cron::parse(&wire.cron, &wire.time_zone);
    let cron = cron.and_then(|cron| cron.check().map(|()| cron));
    cron.map_err(|problem| {
        let field = match &problem {
            Problem::Zone(_) => "schedule.time_zone",
            Problem::Expression(..) | Problem::Never(_) => "schedule.cron",
        };
        Violation::new(field, problem.to_string())
    })
}

fn missed(code: i32) -> Result<Missed, Violation> {
    match pb::MissedTicks::try_from(code) {
        Ok(pb::MissedTicks::Unspecified | pb::MissedTicks::Once) => Ok(Missed::Once),
        Ok(pb::MissedTicks::Skip) => Ok(Missed::Skip),
        Ok(pb::MissedTicks::All) => Ok(Missed::All),
        Err(_) => Err(Violation::new("schedule.missed", format!("{code} must be one of MissedTicks"))),
    }
}

/// What is enqueued, and the words that said so.
fn template(wire: Option<pb::NewTask>, namespace: &Arc<str>) -> Result<(NewTask, Arc<[u8]>), Violations> {
    let Some(wire) = wire else { return Err(Violation::new("schedule.task", "must be set").into()) };
    let mut violations = Violations::new();
    violations.require(wire.request_id.is_empty(), "request_id", "must be empty: a tick fires once");
    violations.require(wire.delay.is_none(), "delay", "must be unset: the tick says when");
    violations.require(wire.after.is_empty(), "after", "must be empty");
    violations.take(check::bytes("payload", &wire.payload, PAYLOAD_BYTES));
    labels(&wire.metadata, &mut violations);
    let said = pb::NewTask { payload: Bytes::new(), ..wire.clone() }.encode_to_vec();
    let task = if violations.is_empty() { parse::task(wire, 0, namespace, "") } else { Err(violations) };
    task.map(|task| (NewTask { delay: Duration::ZERO, ..task }, said.into())).map_err(|found| {
        let mut outer = Violations::new();
        outer.extend_within("schedule.task", found);
        outer
    })
}

fn labels(metadata: &HashMap<String, String>, violations: &mut Violations) {
    let rule = format!("{} labels must be at most {LABELS_LEFT}", metadata.len());
    violations.require(metadata.len() <= LABELS_LEFT, "metadata", &rule);
    for label in LABELS {
        let field = format!("metadata[\"{label}\"]");
        violations.require(!metadata.contains_key(label), &field, "must be unset: the queue sets it");
    }
}

fn shown(schedule: &Schedule) -> pb::Schedule {
    let said = pb::NewTask::decode(&*schedule.said).unwrap_or_default();
    let payload = Bytes::from_owner(Arc::clone(&schedule.task.payload));
    let missed = match schedule.missed {
        Missed::Once => pb::MissedTicks::Once,
        Missed::Skip => pb::MissedTicks::Skip,
        Missed::All => pb::MissedTicks::All,
    };
    pb::Schedule {
        name: schedule.key.1.to_string(),
        cron: schedule.cron.expression().to_owned(),
        time_zone: schedule.cron.zone_name().to_owned(),
        task: Some(pb::NewTask { payload, ..said }),
        paused: schedule.paused,
        missed: missed.into(),
        create_time: wire::time(schedule.created),
        next_time: schedule.next().and_then(wire::time),
        last_time: schedule.last.and_then(|last| wire::time(last.at)),
        last_task_id: schedule.last.map(|last| last.task.to_string()).unwrap_or_default(),
        skipped: schedule.skipped,
    }
}
