//! Counts words until it is told to end (Ctrl-C), then finishes what it has begun.

use std::collections::BTreeMap;
use std::time::Duration;

use nova_examples::{CountWords, Counted, KIND, QUEUE, connect, now};
use nova_worker::{Context, Failure, TimeoutLayer, Worker};
use serde::{Deserialize, Serialize};

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

/// Words between two checkpoints; real work has more between them.
const PART: usize = 2;

/// What was counted so far: the next attempt goes on from here.
#[derive(Default, Serialize, Deserialize)]
struct Checkpoint {
    words: usize,
    counts: BTreeMap<String, u64>,
}

async fn count(task: CountWords, context: Context) -> Result<Counted, Failure> {
    let early = (stored_at(&context) + task.wait_ms).saturating_sub(now());
    if early > 0 {
        return Err(Failure::snooze(Duration::from_millis(early)));
    }
    let words = words(&task.text);
    let mut done = context.checkpoint::<Checkpoint>()?.unwrap_or_default();
    for part in words.get(done.words..).unwrap_or_default().chunks(PART) {
        part.iter().for_each(|word| *done.counts.entry(word.clone()).or_default() += 1);
        done.words += part.len();
        context.progress(done.words as f64 / words.len() as f64, "counting");
        context.save_checkpoint(&done).await?;
        if task.flaky && context.attempt == 1 {
            let failure = Failure::new("UNLUCKY", "the first attempt fails");
            return Err(failure.retry_after(Duration::from_millis(100)));
        }
    }
    let top = done.counts.into_iter().rev().max_by_key(|(_, times)| *times);
    let (top, times) = top.ok_or_else(|| Failure::permanent("NO_WORDS", "the text has no words"))?;
    Ok(Counted { words: words.len() as u64, top, times })
}

/// Milliseconds since the epoch.
fn stored_at(context: &Context) -> u64 {
    u64::try_from(context.task.created.millis()).unwrap_or(0)
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}
