//! Tasks: a list of them, and one in full.

use clap::Args;
use nova_client::Mesh;
use nova_proto::queue::v1::{Attempt, GetTaskRequest, ListTasksRequest, Progress, Task, TaskState};
use serde_json::{Value, json};

use super::select::Like;
use crate::cli::Context;
use crate::commands::pages::Limit;
use crate::commands::{cells, output};

const PREFIX: &str = "TASK_STATE_";
/// Names of the states.
pub(crate) const STATES: [&str; 6] = ["waiting", "ready", "leased", "completed", "dead", "cancelled"];

/// List tasks, newest first.
#[derive(Debug, Args)]
pub(crate) struct Tasks {
    /// Only this queue.
    #[arg(long, default_value = "", hide_default_value = true)]
    queue: String,
    /// Only these states; give it again for more than one.
    #[arg(long, value_parser = STATES)]
    state: Vec<String>,
    #[command(flatten)]
    like: Like,
    #[command(flatten)]
    limit: Limit,
}

impl Tasks {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let states: Vec<i32> = self.state.iter().map(|name| state_of(name).into()).collect();
        let filter = self.like.filter()?;
        let page = async |page_size, page_token| {
            let (namespace, queue) = (String::new(), self.queue.clone());
            let (states, filter) = (states.clone(), filter.clone());
            let request = ListTasksRequest { namespace, queue, states, page_size, page_token, filter };
            let page = mesh.queue().list_tasks(request).await?.into_inner();
            Ok((page.tasks, page.next_page_token))
        };
        let tasks = self.limit.gather(page).await?;
        let records: Vec<Value> = tasks.iter().map(record).collect();
        let headers = ["TASK", "QUEUE", "KIND", "STATE", "ATTEMPTS", "CHANGED", "WORKER", "LAST ERROR"];
        output::rows(context, headers, tasks.iter().map(row).collect(), &records)
    }
}

fn row(task: &Task) -> [String; 8] {
    [
        task.id.clone(),
        task.queue.clone(),
        task.kind.clone(),
        state(task),
        attempts(task),
        cells::relative(task.update_time.as_ref()),
        task.worker.clone(),
        cells::brief(&error(task)),
    ]
}

/// Shows one task.
pub(crate) async fn show(context: &Context, mesh: &Mesh, task_id: String) -> anyhow::Result<()> {
    let request = GetTaskRequest { task_id, ..Default::default() };
    let task = mesh.queue().get_task(request).await?.into_inner().task.unwrap_or_default();
    let mut record = record(&task);
    record["payload"] = cells::content(&task.payload);
    record["result"] = cells::content(&task.result);
    record["checkpoint"] = cells::content(&task.checkpoint);
    record["history"] = task.history.iter().map(attempt_record).collect();
    let fields = [
        ("task", task.id.clone()),
        ("queue", task.queue.clone()),
        ("kind", task.kind.clone()),
        ("state", state(&task)),
        ("attempts", attempts(&task)),
        ("last error", error(&task)),
        ("priority", task.priority.to_string()),
        ("request id", task.request_id.clone()),
        ("metadata", cells::labels(&task.metadata)),
        ("created", cells::moment(task.create_time.as_ref())),
        ("changed", cells::moment(task.update_time.as_ref())),
        ("ready", cells::moment(task.ready_time.as_ref())),
        ("worker", task.worker.clone()),
        ("lease ends", cells::moment(task.lease_expire_time.as_ref())),
        ("deadline", cells::moment(task.deadline_time.as_ref())),
        ("after", task.after.join("\n")),
        ("waits for", blockers(&task)),
        ("unique key", task.unique_key.clone()),
        ("progress", task.progress.as_ref().map(progress).unwrap_or_default()),
        ("history", task.history.iter().map(attempt).collect::<Vec<_>>().join("\n")),
        ("trace", trace_id(&task)),
        ("checkpoint", cells::readable(&task.checkpoint)),
        ("payload", cells::readable(&task.payload)),
        ("result", cells::readable(&task.result)),
    ];
    output::fields(context, &fields, &record)
}

/// How many of the tasks that it comes after have not ended.
fn blockers(task: &Task) -> String {
    match task.blocked_by {
        0 => String::new(),
        1 => "1 task that has not ended".to_owned(),
        many => format!("{many} tasks that have not ended"),
    }
}

fn progress(progress: &Progress) -> String {
    format!("{} {}", cells::percent(progress.fraction), progress.note)
}

/// One line for an attempt that ended.
fn attempt(attempt: &Attempt) -> String {
    let how = attempt.error.as_ref().map_or("completed", |error| error.reason.as_str());
    let took = cells::elapsed(attempt.start_time.as_ref(), attempt.end_time.as_ref());
    format!("{}  {how} after {took} by {}", attempt.number, attempt.worker)
}

fn attempt_record(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.number,
        "worker": attempt.worker,
        "start_time": cells::rfc3339(attempt.start_time.as_ref()),
        "end_time": cells::rfc3339(attempt.end_time.as_ref()),
        "error": attempt.error.as_ref().map(|error| json!({"reason": error.reason, "message": error.message})),
    })
}

/// A task as programs see it, without payload and result.
pub(crate) fn record(task: &Task) -> Value {
    let error = task.last_error.as_ref();
    json!({
        "id": task.id,
        "queue": task.queue,
        "kind": task.kind,
        "state": state(task),
        "priority": task.priority,
        "attempts": task.attempts,
        "max_attempts": task.max_attempts,
        "metadata": task.metadata,
        "request_id": task.request_id,
        "create_time": cells::rfc3339(task.create_time.as_ref()),
        "update_time": cells::rfc3339(task.update_time.as_ref()),
        "ready_time": cells::rfc3339(task.ready_time.as_ref()),
        "worker": task.worker,
        "lease_expire_time": cells::rfc3339(task.lease_expire_time.as_ref()),
        "last_error": error.map(|error| json!({"reason": error.reason, "message": error.message})),
        "traceparent": task.traceparent,
        "after": task.after,
        "blocked_by": task.blocked_by,
        "unique_key": task.unique_key,
        "deadline_time": cells::rfc3339(task.deadline_time.as_ref()),
        "progress": task.progress.as_ref().map(|progress| json!({"fraction": progress.fraction, "note": progress.note})),
    })
}

/// The name of a task's state.
pub(crate) fn state(task: &Task) -> String {
    cells::name(task.state().as_str_name(), PREFIX)
}

/// What its last failed attempt said: `REASON: message`.
pub(crate) fn error(task: &Task) -> String {
    task.last_error.as_ref().map(|error| format!("{}: {}", error.reason, error.message)).unwrap_or_default()
}

/// Attempts made of those allowed.
pub(crate) fn attempts(task: &Task) -> String {
    format!("{}/{}", task.attempts, task.max_attempts)
}

fn trace_id(task: &Task) -> String {
    task.traceparent.split('-').nth(1).unwrap_or_default().to_owned()
}

/// The state of a name.
pub(crate) fn state_of(name: &str) -> TaskState {
    TaskState::from_str_name(&cells::wire_name(name, PREFIX)).unwrap_or_default()
}
