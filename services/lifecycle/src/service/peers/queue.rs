//! The queue: tasks of steps, and news of them.

use std::collections::HashMap;

use futures::StreamExt as _;
use nova_client::Mesh;
use nova_proto::queue::v1 as pb;
use nova_types::{Namespace, RunId, StepId, Timestamp, wire};
use serde_json::Value;
use tonic::Code;

use super::error;
use crate::plan::Retry;
use crate::run::{MeshError, News, StepError, Stored, TaskPlace, TaskSpec, TaskView, Watch};

/// Largest result that a run's log takes, in bytes.
const MAX_RESULT_BYTES: usize = 768 << 10;

pub(super) async fn enqueue(
    mesh: &Mesh,
    namespace: &Namespace,
    tasks: &[TaskSpec],
) -> Result<Vec<Stored>, MeshError> {
    let tasks = tasks.iter().map(new_task).collect();
    let request = pb::EnqueueRequest { namespace: namespace.to_string(), tasks };
    let response = mesh.queue().enqueue(request).await.map_err(|status| error(&status))?;
    let stored = |task: pb::EnqueuedTask| Stored { task_id: task.id, known: task.duplicate };
    Ok(response.into_inner().tasks.into_iter().map(stored).collect())
}

/// A page at a time, by the label that every task of a run has.
pub(super) async fn cancel(
    mesh: &Mesh,
    namespace: &Namespace,
    run: RunId,
    queue: &str,
    why: &str,
) -> Result<(), MeshError> {
    let metadata = HashMap::from([("run".to_owned(), run.to_string())]);
    let mut request = pb::CancelTasksRequest {
        namespace: namespace.to_string(),
        queue: queue.to_owned(),
        filter: Some(pb::TaskFilter { metadata, ..Default::default() }),
        message: why.to_owned(),
        ..Default::default()
    };
    loop {
        let page = mesh.queue().cancel_tasks(request.clone()).await.map_err(|status| error(&status))?;
        request.page_token = page.into_inner().next_page_token;
        if request.page_token.is_empty() {
            return Ok(());
        }
    }
}

pub(super) async fn task(
    mesh: &Mesh,
    namespace: &Namespace,
    task_id: &str,
) -> Result<Option<TaskView>, MeshError> {
    let (namespace, task_id) = (namespace.to_string(), task_id.to_owned());
    let request = pb::GetTaskRequest { namespace, task_id, wait: None };
    match mesh.queue().get_task(request).await {
        Ok(response) => Ok(response.into_inner().task.and_then(view)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(error(&status)),
    }
}

pub(super) async fn watch(
    mesh: &Mesh,
    namespace: &Namespace,
    run: RunId,
    cursor: Option<String>,
) -> Result<Watch, MeshError> {
    let request = pb::WatchTasksRequest {
        namespace: namespace.to_string(),
        queue: String::new(),
        metadata_filter: format!("run={run}"),
        cursor: cursor.unwrap_or_default(),
    };
    let stream = mesh.queue().watch_tasks(request).await.map_err(|status| error(&status))?.into_inner();
    let news = stream.map(|message| {
        let message = message.map_err(|status| error(&status))?;
        Ok(News { cursor: message.cursor, task: message.event.and_then(event_view) })
    });
    Ok(news.boxed())
}

fn new_task(task: &TaskSpec) -> pb::NewTask {
    pb::NewTask {
        queue: task.queue.clone(),
        kind: task.kind.clone(),
        payload: task.payload.clone().into(),
        metadata: task.metadata.clone().into_iter().collect(),
        request_id: task.request_id.clone(),
        priority: 0,
        delay: None,
        retry: Some(retry_policy(&task.retry)),
        attempt_timeout: task.timeout.map(|timeout| wire::to_duration(timeout.get())),
        ..Default::default()
    }
}

fn retry_policy(retry: &Retry) -> pb::RetryPolicy {
    let wire = |duration: Option<crate::plan::PlanDuration>| duration.map(|it| wire::to_duration(it.get()));
    pb::RetryPolicy {
        max_attempts: retry.max_attempts,
        initial_backoff: wire(retry.backoff.initial),
        factor: retry.backoff.factor,
        max_backoff: wire(retry.backoff.max),
    }
}

fn event_view(event: pb::TaskEvent) -> Option<TaskView> {
    let time = event.time.as_ref().map(Timestamp::from_wire);
    let mut view = view(event.task?)?;
    view.time = time.unwrap_or(view.time);
    Some(view)
}

/// A task as the engine sees it; none when it belongs to no step.
fn view(task: pb::Task) -> Option<TaskView> {
    let step = StepId::parse("step", task.metadata.get("step")?).ok()?;
    let mut last_error =
        task.last_error.map(|error| StepError { reason: error.reason, message: error.message });
    let state = match pb::TaskState::try_from(task.state).ok()? {
        pb::TaskState::Unspecified => return None,
        pb::TaskState::Waiting | pb::TaskState::Ready => TaskPlace::Waiting,
        pb::TaskState::Leased => TaskPlace::Leased,
        pb::TaskState::Cancelled => TaskPlace::Cancelled,
        pb::TaskState::Dead => TaskPlace::Dead,
        pb::TaskState::Completed if task.result.len() > MAX_RESULT_BYTES => {
            let rule = format!("{} bytes; a step's result has at most {MAX_RESULT_BYTES}", task.result.len());
            last_error = Some(StepError::new("RESULT_TOO_LARGE", rule));
            TaskPlace::Dead
        }
        pb::TaskState::Completed => TaskPlace::Completed(result(&task.result)),
    };
    let time = task.update_time.as_ref().map(Timestamp::from_wire).unwrap_or_default();
    Some(TaskView { step, state, attempts: task.attempts, worker: task.worker, last_error, time })
}

/// A result is JSON; bytes that are not are kept as text.
fn result(bytes: &[u8]) -> Value {
    let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
    if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).unwrap_or_else(|_| text()) }
}
