//! Waiting for a task to end.

use std::time::Duration;

use anyhow::bail;
use nova_proto::queue::v1::TaskState;
use nova_types::wire;
use nova_worker::Producer;

use super::scope::Scope;
use super::task;

/// Waits until a task has ended, prints it, and fails unless it completed in time.
pub(crate) async fn show(scope: &Scope<'_>, task_id: &str, wait: Duration) -> anyhow::Result<()> {
    let producer = Producer::new(scope.mesh.clone()).namespace(&scope.namespace());
    let task = producer.wait(task_id, wait).await?;
    task::print_whole(scope.context, &task)?;
    let state = task::state(&task);
    match task.state() {
        TaskState::Completed => Ok(()),
        TaskState::Dead | TaskState::Cancelled => bail!("{}", told(&state, &task::error(&task))),
        _ => bail!("the task has not ended within {}: it is {state}", wire::in_units(wait)),
    }
}

fn told(state: &str, error: &str) -> String {
    let why = if error.is_empty() { String::new() } else { format!(": {error}") };
    format!("the task is {state}{why}")
}
