//! Tasks: a list of them, and one in full.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use nova_proto::queue::v1::{
    Attempt, GetTaskRequest, ListTasksRequest, Progress, Task, TaskError, TaskState,
};
use nova_types::wire;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::scope::Scope;
use super::select::Like;
use super::{admin, template};
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
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    queue: Option<String>,
    /// Only these states; give it again for more than one.
    #[arg(long, value_parser = STATES)]
    state: Vec<String>,
    #[command(flatten)]
    like: Like,
    #[command(flatten)]
    limit: Limit,
}

impl Tasks {
    pub(crate) async fn run(self, scope: &Scope<'_>) -> anyhow::Result<()> {
        let states: Vec<i32> = self.state.iter().map(|name| state_of(name).into()).collect();
        let filter = self.like.filter()?;
        let queue = admin::known(scope, self.queue).await?;
        let page = async |page_size, page_token| {
            let (namespace, queue) = (scope.namespace(), queue.clone());
            let (states, filter) = (states.clone(), filter.clone());
            let request = ListTasksRequest { namespace, queue, states, page_size, page_token, filter };
            let page = scope.mesh.queue().list_tasks(request).await?.into_inner();
            Ok((page.tasks, page.next_page_token))
        };
        print(scope.context, &self.limit.gather(page).await?)
    }
}

/// Prints a row for each task, or with `--json` its record.
pub(crate) fn print(context: &Context, tasks: &[Task]) -> anyhow::Result<()> {
    let records: Vec<Value> = tasks.iter().map(record).collect();
    let headers = ["TASK", "QUEUE", "KIND", "STATE", "ATTEMPTS", "CHANGED", "WORKER", "LAST ERROR"];
    output::rows(context, headers, tasks.iter().map(row).collect(), &records)
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

async fn get(scope: &Scope<'_>, task_id: String) -> Result<Task, Status> {
    let request = GetTaskRequest { namespace: scope.namespace(), task_id, wait: None };
    Ok(scope.mesh.queue().get_task(request).await?.into_inner().task.unwrap_or_default())
}

/// A task; none when there is none of this id.
pub(crate) async fn find(scope: &Scope<'_>, task_id: &str) -> Result<Option<Task>, Status> {
    match get(scope, task_id.to_owned()).await {
        Err(status) if status.code() == Code::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

/// Shows one task.
pub(crate) async fn show(scope: &Scope<'_>, task_id: String) -> anyhow::Result<()> {
    print_whole(scope.context, &get(scope, task_id).await?)
}

/// Prints all that there is of a task.
pub(crate) fn print_whole(context: &Context, task: &Task) -> anyhow::Result<()> {
    let mut record = record(task);
    record["payload"] = cells::content(&task.payload);
    record["result"] = cells::content(&task.result);
    record["checkpoint"] = cells::content(&task.checkpoint);
    record["retry"] = task.retry.as_ref().map(template::retry_record).into();
    record["attempt_timeout_seconds"] = template::seconds(&task.attempt_timeout).into();
    record["history"] = task.history.iter().map(attempt_record).collect();
    let fields = [
        ("task", task.id.clone()),
        ("namespace", task.namespace.clone()),
        ("queue", task.queue.clone()),
        ("group", task.group.clone()),
        ("kind", task.kind.clone()),
        ("state", state(task)),
        ("attempts", attempts(task)),
        ("retry", retries(task)),
        ("last error", error(task)),
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
        ("waits for", blockers(task)),
        ("unique key", task.unique_key.clone()),
        ("progress", task.progress.as_ref().map(progress).unwrap_or_default()),
        ("history", task.history.iter().map(attempt).collect::<Vec<_>>().join("\n")),
        ("trace", trace_id(task)),
        ("checkpoint", cells::readable(&task.checkpoint)),
        ("payload", cells::readable(&task.payload)),
        ("result", cells::readable(&task.result)),
    ];
    output::fields(context, &fields, &record)
}

/// How its attempts are repeated, and how long each may take where that is bounded.
fn retries(task: &Task) -> String {
    let Some(policy) = &task.retry else { return String::new() };
    let tries = template::tries(policy);
    match cells::duration(task.attempt_timeout.as_ref()) {
        Some(most) => format!("{tries}; each for at most {}", wire::in_units(most)),
        None => tries,
    }
}

/// How many of the tasks that it comes after have not ended.
fn blockers(task: &Task) -> String {
    match task.blocked_by {
        0 => String::new(),
        1 => "1 task that has not completed".to_owned(),
        many => format!("{many} tasks that have not completed"),
    }
}

fn progress(progress: &Progress) -> String {
    format!("{} {}", cells::percent(progress.fraction), progress.note)
}

/// One line for an attempt that ended, and those of its message.
fn attempt(attempt: &Attempt) -> String {
    let (how, message) = match attempt.error.as_ref() {
        None => ("completed", ""),
        Some(TaskError { reason, message }) if reason.is_empty() => ("failed", message.as_str()),
        Some(TaskError { reason, message }) => (reason.as_str(), message.as_str()),
    };
    let took = cells::elapsed(attempt.start_time.as_ref(), attempt.end_time.as_ref());
    let line = format!("{}  {how} after {took} by {}", attempt.number, attempt.worker);
    message.lines().fold(line, |told, line| format!("{told}\n   {line}"))
}

fn attempt_record(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.number,
        "worker": attempt.worker,
        "start_time": cells::rfc3339(attempt.start_time.as_ref()),
        "end_time": cells::rfc3339(attempt.end_time.as_ref()),
        "error": attempt.error.as_ref().map(|error| json!({"reason": error.reason, "message": error.message})),
        "traceparent": attempt.traceparent,
    })
}

/// A task as programs see it, without payload and result.
pub(crate) fn record(task: &Task) -> Value {
    let error = task.last_error.as_ref();
    json!({
        "id": task.id,
        "namespace": task.namespace,
        "queue": task.queue,
        "group": task.group,
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

/// What its last failed attempt said: `REASON: message`, or one of them when it said no more.
pub(crate) fn error(task: &Task) -> String {
    let Some(TaskError { reason, message }) = task.last_error.clone() else { return String::new() };
    [reason, message].into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join(": ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, message: &str, told: &str) {
        let last_error = Some(TaskError { reason: reason.to_owned(), message: message.to_owned() });
        assert_eq!(error(&Task { last_error, ..Task::default() }), told);
    }

    #[test]
    fn a_failure_is_told_with_what_it_said() {
        check("SMTP_DOWN", "no route", "SMTP_DOWN: no route");
        check("", "no route", "no route");
        check("SMTP_DOWN", "", "SMTP_DOWN");
    }
}
