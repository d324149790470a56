//! A flood of tasks: producers that do not rest when they are refused, while a worker in another process goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;
use nova_proto::queue::v1 as pb;
use tokio::task::JoinSet;
use tonic::Code;

use super::tally::Tally;
use super::{Client, NovaSystem, producers::request};
use crate::process;

/// Tasks of one call.
const BATCH: usize = 64;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How much longer a flood may last until something was worked, seconds.
const PATIENCE: f64 = 30.0;

/// What came of a flood.
#[derive(Debug)]
pub(crate) struct Flood {
    /// Enqueue calls that were refused, each with a time after which to try again.
    pub(crate) refused: u64,
    /// Tasks that were stored.
    pub(crate) stored: u64,
    /// Completions a second while it lasted.
    pub(crate) worked_per_second: f64,
    /// The most memory that the queue daemon took, bytes.
    pub(crate) most_memory: f64,
    /// The memory before, bytes.
    pub(crate) memory_before: f64,
}

impl NovaSystem {
    /// Lets `callers` enqueue for `seconds`, and until something was worked, as fast as they are answered, while a worker
    /// works; then all that was acknowledged is worked off.
    pub(crate) async fn flood(&mut self, callers: usize, seconds: f64) -> anyhow::Result<Flood> {
        let queue = [self.queue_process()];
        self.work_with_sdk().await?;
        let tally = Arc::clone(&self.sdk);
        let (stored, completed) = (tally.enqueued(), tally.completed());
        let refused = Arc::new(AtomicU64::new(0));
        let memory_before = process::memory_bytes(&queue);
        let (began, ebbing) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let mut producers = JoinSet::new();
        for number in 0..callers {
            let client = self.producing[number % self.producing.len()].clone();
            producers.spawn(pour(client, Arc::clone(&tally), Arc::clone(&refused), Arc::clone(&ebbing)));
        }
        let mut most_memory = memory_before;
        while began.elapsed().as_secs_f64() < seconds || tally.completed() == completed {
            ensure!(began.elapsed().as_secs_f64() < seconds + PATIENCE, "nobody works while the flood lasts");
            tokio::time::sleep(LOOK).await;
            most_memory = most_memory.max(process::memory_bytes(&queue));
        }
        let worked_per_second = (tally.completed() - completed) as f64 / began.elapsed().as_secs_f64();
        ebbing.store(true, Relaxed);
        while let Some(ended) = producers.join_next().await {
            ended??;
        }
        self.worked_with_sdk().await?;
        tally.check()?;
        let (refused, stored) = (refused.load(Relaxed), tally.enqueued() - stored);
        Ok(Flood { refused, stored, worked_per_second, most_memory, memory_before })
    }
}

async fn pour(
    mut client: Client,
    tally: Arc<Tally>,
    refused: Arc<AtomicU64>,
    ebbing: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    while !ebbing.load(Relaxed) {
        let tasks: pb::EnqueueRequest = request(&tally, BATCH, Instant::now());
        match client.enqueue(tasks).await {
            Ok(answer) => tally.enqueue(answer.into_inner().tasks.iter().map(|task| task.id.as_str())),
            Err(status) => {
                ensure!(status.code() == Code::ResourceExhausted, "{status}");
                ensure!(!status.details().is_empty(), "it does not say when to try again");
                refused.fetch_add(1, Relaxed);
            }
        }
    }
    Ok(())
}
