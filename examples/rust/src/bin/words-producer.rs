//! Enqueues one task and waits for its result: `words-producer TEXT`.
#![expect(clippy::print_stdout, reason = "a command line prints its result")]

use std::time::Duration;

use anyhow::{Context as _, bail};
use nova_client::Mesh;
use nova_examples::{CountWords, KIND, QUEUE, connect};
use nova_proto::queue::v1::{GetTaskRequest, Task, TaskState};
use nova_worker::{NewTask, Producer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let text = std::env::args().nth(1).context("usage: words-producer TEXT")?;
    let mesh = connect()?;
    let words = CountWords { text, flaky: true, wait_ms: 500 };
    let task = NewTask::new(QUEUE, KIND, &words)?.request_id(&words.key()).label("example", "rust");
    let id = Producer::new(mesh.clone()).enqueue(task).await?.id;
    let ended = wait(&mesh, &id).await?;
    match ended.state() {
        TaskState::Completed => {
            println!("attempt {}: {}", ended.attempts, String::from_utf8_lossy(&ended.result));
            Ok(())
        }
        state => bail!("the task is {state:?}: {:?}", ended.last_error),
    }
}

/// Asks until the task has ended.
async fn wait(mesh: &Mesh, id: &str) -> anyhow::Result<Task> {
    loop {
        let request = GetTaskRequest { task_id: id.to_owned(), ..GetTaskRequest::default() };
        let task = mesh.queue().get_task(request).await?.into_inner().task.context("no task")?;
        if matches!(task.state(), TaskState::Completed | TaskState::Dead | TaskState::Cancelled) {
            return Ok(task);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
