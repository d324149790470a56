//! GetTask, ListTasks, ListQueues.

use std::{sync::Arc, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_types::{QueueName, TaskKind, Timestamp, Violation, Violations, wire as check};
use prost::Message;
use tonic::Status;
use uuid::Uuid;

use crate::{
    Error,
    record::{Fits, QueueStats, TaskFilter},
    service::{QueueService, parse, unary::refused, wire},
    task::{Micros, State, span},
};

/// Bytes after which a page ends early, so that it fits a message of 4 MiB.
const PAGE_BYTES: usize = 3 << 20;

/// Longest that GetTask waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Reads one task, or waits until it has ended. Who waits for a daemon that drains asks the next one.
pub(super) async fn get_task(
    service: &QueueService,
    request: pb::GetTaskRequest,
) -> Result<pb::GetTaskResponse, Status> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace)).unwrap_or_default();
    let id = violations.take(parse::task_id("task_id", &request.task_id)).unwrap_or_default();
    let waits = Duration::ZERO..=LONGEST_WAIT;
    let wait = violations.take(check::duration("wait", request.wait.as_ref(), waits, Duration::ZERO));
    violations.finish().map_err(refused)?;
    let task = match wait.filter(|wait| !wait.is_zero()) {
        None => service.store.task(&namespace, id).await?,
        Some(wait) => {
            let drain = service.runtime.shutdown();
            tokio::select! {
                biased;
                task = service.store.task_at_its_end(&namespace, id, wait) => task?,
                () = drain.cancelled() => return Err(Error::Closed.into()),
            }
        }
    };
    let task = task.ok_or(Error::NoTask(id))?;
    Ok(pb::GetTaskResponse { task: Some(wire::whole_task(task)) })
}

/// Reads a page of tasks.
pub(super) async fn list_tasks(
    service: &QueueService,
    request: pb::ListTasksRequest,
) -> Result<pb::ListTasksResponse, Status> {
    let filter = filter(&request).map_err(refused)?;
    let page = service.store.tasks(filter).await?;
    let ids: Vec<Uuid> = page.tasks.iter().map(|task| task.id).collect();
    let (tasks, more) = fill(page.tasks.into_iter().map(wire::task), usize::MAX);
    let next = if more { Some(ids[tasks.len() - 1]) } else { page.next };
    let next_page_token = next.map(|id| check::page_token(id.as_bytes())).unwrap_or_default();
    Ok(pb::ListTasksResponse { tasks, next_page_token })
}

/// Up to `limit` of what was found, and less when it is much; and whether there is more.
pub(super) fn fill<M: Message>(found: impl Iterator<Item = M>, limit: usize) -> (Vec<M>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for message in found {
        if page.len() == limit || bytes > PAGE_BYTES {
            return (page, true);
        }
        bytes += message.encoded_len();
        page.push(message);
    }
    (page, false)
}

fn filter(request: &pb::ListTasksRequest) -> Result<TaskFilter, Violations> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace));
    let queue = violations.take(queue(&request.queue));
    let limit = violations.take(check::page_size("page_size", request.page_size, 50, 1_000));
    let before = violations.take(page_token(&request.page_token));
    let states = states(&request.states, &mut violations);
    let fits = fits(request.filter.as_ref(), &mut violations);
    violations.finish()?;
    Ok(TaskFilter {
        namespace: namespace.unwrap_or_default(),
        queue: queue.flatten(),
        states,
        before: before.flatten(),
        limit: limit.unwrap_or(50),
        fits,
    })
}

/// The name of a queue; empty means all.
pub(super) fn queue(name: &str) -> Result<Option<Arc<str>>, Violation> {
    if name.is_empty() {
        return Ok(None);
    }
    QueueName::parse("queue", name).map(|queue| Some(Arc::from(queue.as_ref())))
}

/// States, each of which must be one.
pub(super) fn states(codes: &[i32], violations: &mut Violations) -> Vec<State> {
    codes.iter().enumerate().filter_map(|(index, code)| violations.take(state(index, *code))).collect()
}

/// What tasks must be like.
pub(super) fn fits(filter: Option<&pb::TaskFilter>, violations: &mut Violations) -> Fits {
    let Some(filter) = filter else { return Fits::default() };
    if !filter.kind.is_empty() {
        violations.take(TaskKind::parse("filter.kind", &filter.kind));
    }
    violations.take(parse::group("filter.group", filter.group()));
    violations.take(check::labels("filter.metadata", &filter.metadata));
    violations.take(check::text("filter.error_reason", &filter.error_reason, 0..=64));
    let set = |text: &str| (!text.is_empty()).then(|| Box::from(text));
    let time =
        |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| Timestamp::from_wire(time).micros());
    Fits {
        kind: set(&filter.kind),
        group: filter.group.as_deref().map(Box::from),
        metadata: parse::labels(filter.metadata.clone()),
        error_reason: set(&filter.error_reason),
        created_from: time(&filter.create_time_from),
        created_before: time(&filter.create_time_before),
    }
}

fn state(index: usize, code: i32) -> Result<State, Violation> {
    let state = u8::try_from(code).ok().and_then(State::from_code);
    state.ok_or_else(|| Violation::new(format!("states[{index}]"), format!("{code} must be a state")))
}

/// Where a page begins.
pub(super) fn page_token(token: &str) -> Result<Option<Uuid>, Violation> {
    let Some(key) = check::parse_page_token("page_token", token)? else { return Ok(None) };
    let id = Uuid::from_slice(&key);
    id.map(Some).map_err(|_| Violation::new("page_token", "must be a token from the page before"))
}

/// Reads a page of the queues of a namespace.
pub(super) async fn list_queues(
    service: &QueueService,
    request: pb::ListQueuesRequest,
) -> Result<pb::ListQueuesResponse, Status> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace)).unwrap_or_default();
    let limit = violations.take(check::page_size("page_size", request.page_size, 100, 1_000)).unwrap_or(100);
    let after = violations.take(check::parse_page_token_text("page_token", &request.page_token));
    violations.finish().map_err(refused)?;
    let after = after.flatten().unwrap_or_default();
    let now = service.runtime.clock().now().micros();
    let found = service.store.queues(&namespace, after, limit + 1).await?;
    let (queues, more) = fill(found.into_iter().map(|queue| stats(queue, now)), limit);
    let last = queues.last().filter(|_| more);
    let next_page_token = last.map(|last| check::page_token(last.queue.as_bytes())).unwrap_or_default();
    Ok(pb::ListQueuesResponse { queues, next_page_token })
}

/// Counts of a queue at `now`.
pub(super) fn stats(stats: QueueStats, now: Micros) -> pb::QueueStats {
    pb::QueueStats {
        queue: stats.queue.to_string(),
        waiting: stats.waiting,
        ready: stats.ready,
        leased: stats.leased,
        completed: stats.completed,
        dead: stats.dead,
        cancelled: stats.cancelled,
        intake: wire::intake(stats.intake).into(),
        oldest_ready_age: stats.oldest_ready.map(|at| check::to_duration(span(now - at))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_limit_and_before_a_message_is_full() {
        let task = |bytes| pb::Task { payload: vec![7; bytes].into(), ..Default::default() };
        let (page, more) = fill((0..7).map(|_| task(1)), 3);
        assert_eq!((page.len(), more), (3, true));
        let (page, more) = fill((0..7).map(|_| task(1 << 20)), 1_000);
        assert_eq!((page.len(), more), (3, true));
        assert!(page.iter().map(Message::encoded_len).sum::<usize>() < 4 << 20);
        let (page, more) = fill((0..3).map(|_| task(1 << 20)), 3);
        assert_eq!((page.len(), more), (3, false));
    }
}
