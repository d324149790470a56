//! Dead letters in any number, and what it does to others that they are purged.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nova_proto::queue::v1 as pb;
use tokio::task::JoinSet;

use super::{CREDIT, Client, NovaSystem, drained, producers::Calls};
use crate::job::Spread;

/// Where the dead letters lie, apart from what is worked meanwhile.
const QUEUE: &str = "purged";
/// Tasks of one enqueue call, and calls at once.
const BATCH: u64 = 500;
const CALLERS: usize = 8;
/// When they die.
const DEADLINE: prost_types::Duration = prost_types::Duration { seconds: 1, nanos: 0 };
/// How often it is looked whether they are dead.
const LOOK: Duration = Duration::from_millis(20);
/// Longest that nothing dies before all have.
const STALLED: Duration = Duration::from_secs(30);
/// Calls of the others while something happens: one task each.
const OTHERS: usize = 8;

/// How it goes for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    /// Duration of an enqueue call.
    pub(crate) enqueue: Spread,
    /// From an enqueue call to the arrival of its task at a worker.
    pub(crate) start: Spread,
}

impl NovaSystem {
    /// Enqueues tasks that die of their deadline at once.
    pub(crate) async fn bury(&self, tasks: u64) -> anyhow::Result<()> {
        let mut calls = JoinSet::new();
        for caller in 0..CALLERS as u64 {
            let client = self.producing[usize::try_from(caller)? % self.producing.len()].clone();
            let share = tasks / CALLERS as u64 + u64::from(caller < tasks % CALLERS as u64);
            calls.spawn(bury(client, share));
        }
        while let Some(ended) = calls.join_next().await {
            ended??;
        }
        self.dead(tasks).await
    }

    /// Waits until so many are dead.
    async fn dead(&self, tasks: u64) -> anyhow::Result<()> {
        let (mut dead, mut since) = (0, Instant::now());
        loop {
            let before = std::mem::replace(&mut dead, self.stats(QUEUE).await?.dead);
            if dead >= tasks {
                return Ok(());
            }
            if before != dead {
                since = Instant::now();
            }
            ensure!(since.elapsed() < STALLED, "{dead} of {tasks} tasks died, then none for {STALLED:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Purges all dead letters, a page at a time; answers how many there were and the seconds that it took.
    pub(crate) async fn purge(&self) -> anyhow::Result<(u64, f64)> {
        let mut client = self.producing[0].clone();
        let began = Instant::now();
        let (mut count, mut page_token) = (0, String::new());
        loop {
            let states = vec![pb::TaskState::Dead.into()];
            let request =
                pb::PurgeTasksRequest { queue: QUEUE.to_owned(), states, page_token, ..Default::default() };
            let answer = client.purge_tasks(request).await?.into_inner();
            count += answer.count;
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok((count, began.elapsed().as_secs_f64()));
            }
        }
    }

    /// How long others, who enqueue and work, wait until `meanwhile` is done.
    pub(crate) async fn others<T>(
        &self,
        meanwhile: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Others)> {
        let mut workers = self.work(&self.tally, CREDIT, None);
        self.tally.take_starts();
        let calls = Calls::within(OTHERS, 1, None, f64::from(u16::MAX));
        let stop = calls.stop();
        let running = calls.run(&self.producing, &self.tally);
        let ending = async {
            let done = meanwhile.await;
            stop();
            done
        };
        let (micros, done) = tokio::join!(running, ending);
        let (micros, done) = (micros?, done?);
        drained(&mut workers, self.tally.completes(self.tally.enqueued())).await?;
        let spread = |micros| Spread::of(micros).context("others were served");
        Ok((done, Others { enqueue: spread(micros)?, start: spread(self.tally.take_starts())? }))
    }
}

async fn bury(mut client: Client, tasks: u64) -> anyhow::Result<()> {
    let task = pb::NewTask {
        queue: QUEUE.to_owned(),
        kind: "bench".to_owned(),
        payload: vec![7; crate::job::PAYLOAD].into(),
        deadline: Some(DEADLINE),
        ..Default::default()
    };
    let mut left = tasks;
    while left > 0 {
        let batch = left.min(BATCH);
        let tasks = vec![task.clone(); usize::try_from(batch)?];
        client.enqueue(pb::EnqueueRequest { tasks, ..Default::default() }).await?;
        left -= batch;
    }
    Ok(())
}
