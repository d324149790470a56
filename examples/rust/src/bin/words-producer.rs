//! Enqueues one task and waits for its result: `words-producer TEXT`.
#![expect(clippy::print_stdout, reason = "a command line prints its result")]

use std::time::Duration;

use anyhow::{Context as _, bail};
use nova_examples::{CountWords, KIND, QUEUE, connect};
use nova_proto::queue::v1::TaskState;
use nova_worker::{NewTask, Producer};

/// Longest wait for the result.
const WAIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let text = std::env::args().nth(1).context("usage: words-producer TEXT")?;
    let producer = Producer::new(connect()?);
    let words = CountWords { text, flaky: true, wait_ms: 500 };
    let task = NewTask::new(QUEUE, KIND, &words)?.request_id(&words.key()).label("example", "rust");
    let id = producer.enqueue(task).await?.id;
    let ended = producer.wait(&id, WAIT).await?;
    match ended.state() {
        TaskState::Completed => {
            println!("attempt {}: {}", ended.attempts, String::from_utf8_lossy(&ended.result));
            Ok(())
        }
        state => bail!("the task is {state:?}: {:?}", ended.last_error),
    }
}
