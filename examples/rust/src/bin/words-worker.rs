//! Counts words until it is told to end (Ctrl-C), then finishes what it has begun.

use std::collections::BTreeMap;
use std::time::Duration;

use nova_examples::{CountWords, Counted, KIND, QUEUE, connect};
use nova_worker::{Context, Failure, TimeoutLayer, Worker};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let worker = Worker::builder(connect()?)
        .queue(QUEUE)
        .concurrency(4)
        .handle(KIND, count)
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .build()?;
    let summary = worker.run_until_signal().await?;
    eprintln!("drained: {} completed, {} failed", summary.completed, summary.failed);
    Ok(())
}

async fn count(task: CountWords, context: Context) -> Result<Counted, Failure> {
    if task.flaky && context.attempt == 1 {
        return Err(
            Failure::new("UNLUCKY", "the first attempt fails").retry_after(Duration::from_millis(100))
        );
    }
    let mut counts = BTreeMap::<String, u64>::new();
    for word in task.text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let words = counts.values().sum();
    let top = counts.into_iter().rev().max_by_key(|(_, times)| *times);
    let (top, times) = top.ok_or_else(|| Failure::permanent("NO_WORDS", "the text has no words"))?;
    Ok(Counted { words, top, times })
}
