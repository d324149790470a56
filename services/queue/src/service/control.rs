//! CancelTasks, RedriveTasks, PurgeTasks: by id, or a page at a time by what tasks are like.

use std::sync::Arc;

use nova_proto::queue::v1 as pb;
use nova_rpc::Caller;
use nova_types::{Violation, Violations, wire as check};
use tonic::Status;
use uuid::Uuid;

use crate::{
    record::{Task, TaskFilter, TaskPage},
    service::{QueueService, lists, parse, reserved, unary::refused},
    task::State,
};

/// Most tasks that one call changes.
const MOST: usize = 1_000;

/// Longest message of a cancellation, bytes.
const MESSAGE_BYTES: usize = 256;

/// What the three requests have in common.
struct Selection<'a> {
    namespace: &'a str,
    task_ids: &'a [String],
    queue: &'a str,
    filter: Option<&'a pb::TaskFilter>,
    page_token: &'a str,
}

/// Which tasks a request names.
enum Selected {
    Ids(Arc<str>, Vec<Uuid>),
    Fitting(TaskFilter),
}

impl Selection<'_> {
    /// Checks everything; `states` is what a filter may pick from.
    fn parse(&self, states: Vec<State>, mut violations: Violations) -> Result<Selected, Violations> {
        let namespace = violations.take(parse::namespace(self.namespace)).unwrap_or_default();
        let ids = violations.take(parse::task_ids(self.task_ids)).unwrap_or_default();
        let before = violations.take(lists::page_token(self.page_token)).flatten();
        if !self.task_ids.is_empty() {
            let alone = self.queue.is_empty() && self.filter.is_none() && self.page_token.is_empty();
            violations.require(alone, "task_ids", "must be all that is set, or empty");
            violations.finish()?;
            return Ok(Selected::Ids(namespace, ids));
        }
        let queue = violations.take(parse::queue(self.queue));
        let fits = lists::fits(self.filter, &mut violations);
        violations.finish()?;
        Ok(Selected::Fitting(TaskFilter { namespace, queue, states, before, limit: MOST, fits }))
    }
}

impl QueueService {
    /// The ids of a page of tasks, and where the next begins.
    async fn ids(&self, filter: TaskFilter) -> Result<(Vec<Uuid>, String), Status> {
        let page = self.store.tasks(filter).await?;
        Ok((page.tasks.iter().map(|task| task.id).collect(), token(&page)))
    }
}

fn token(page: &TaskPage) -> String {
    page.next.map(|id| check::page_token(id.as_bytes())).unwrap_or_default()
}

/// Ends tasks that have not ended.
pub(super) async fn cancel(
    service: &QueueService,
    request: pb::CancelTasksRequest,
) -> Result<pb::CancelTasksResponse, Status> {
    let mut violations = Violations::new();
    violations.take(check::text("message", &request.message, 0..=MESSAGE_BYTES));
    let selection = Selection {
        namespace: &request.namespace,
        task_ids: &request.task_ids,
        queue: &request.queue,
        filter: request.filter.as_ref(),
        page_token: &request.page_token,
    };
    let live = vec![State::Waiting, State::Ready, State::Leased];
    let (namespace, ids, next_page_token) = match selection.parse(live, violations).map_err(refused)? {
        Selected::Ids(namespace, ids) => (namespace, ids, String::new()),
        Selected::Fitting(filter) => {
            let namespace = Arc::clone(&filter.namespace);
            let (ids, next) = service.ids(filter).await?;
            (namespace, ids, next)
        }
    };
    let message = Some(request.message).filter(|message| !message.is_empty());
    let message = message.unwrap_or_else(|| "somebody cancelled the task".into());
    let count = service.store.cancel(&namespace, ids, message).await? as u64;
    Ok(pb::CancelTasksResponse { count, next_page_token })
}

/// Gives dead tasks another life; those of reserved queues only for who may put tasks there.
pub(super) async fn redrive(
    service: &QueueService,
    caller: &Caller,
    request: pb::RedriveTasksRequest,
) -> Result<pb::RedriveTasksResponse, Status> {
    let selection = Selection {
        namespace: &request.namespace,
        task_ids: &request.task_ids,
        queue: &request.queue,
        filter: request.filter.as_ref(),
        page_token: &request.page_token,
    };
    let (tasks, next_page_token) =
        match selection.parse(vec![State::Dead], Violations::new()).map_err(refused)? {
            Selected::Ids(namespace, ids) => (service.named(&namespace, ids).await?, String::new()),
            Selected::Fitting(filter) => {
                let page = service.store.tasks(filter).await?;
                let next = token(&page);
                (page.tasks, next)
            }
        };
    reserved::may_enqueue(caller, tasks.iter().map(|task| task.spec.queue.as_ref()))?;
    let dead = tasks.iter().filter(|task| task.status.state == State::Dead).count() as u64;
    let count = service.store.redrive(tasks).await? as u64;
    Ok(pb::RedriveTasksResponse { count, next_page_token, kept: dead.saturating_sub(count) })
}

impl QueueService {
    /// Those of these tasks that exist.
    async fn named(&self, namespace: &Arc<str>, ids: Vec<Uuid>) -> Result<Vec<Task>, Status> {
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids {
            tasks.extend(self.store.task(namespace, id).await?);
        }
        Ok(tasks)
    }
}

/// Forgets tasks that nobody holds.
pub(super) async fn purge(
    service: &QueueService,
    request: pb::PurgeTasksRequest,
) -> Result<pb::PurgeTasksResponse, Status> {
    let mut violations = Violations::new();
    let states = lists::states(&request.states, &mut violations);
    if request.task_ids.is_empty() && request.states.is_empty() {
        violations.push(Violation::new("states", "must name at least one state when there are no task_ids"));
    }
    let selection = Selection {
        namespace: &request.namespace,
        task_ids: &request.task_ids,
        queue: &request.queue,
        filter: request.filter.as_ref(),
        page_token: &request.page_token,
    };
    let (namespace, ids, next_page_token) =
        match selection.parse(states.clone(), violations).map_err(refused)? {
            Selected::Ids(namespace, ids) => (namespace, ids, String::new()),
            Selected::Fitting(filter) => {
                let namespace = Arc::clone(&filter.namespace);
                let (ids, next) = service.ids(filter).await?;
                (namespace, ids, next)
            }
        };
    let count = service.store.purge(&namespace, ids, states).await? as u64;
    Ok(pb::PurgeTasksResponse { count, next_page_token })
}
