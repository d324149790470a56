//! A load on a queue: callers that enqueue, workers on their streams, and a count of every life.

mod producers;
mod tally;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nova_client::{Channel, Credential, Credentials, Mesh};
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;
use nova_testkit::Nova;
use tokio::task::JoinSet;

pub(crate) use tally::Outcome;
use tally::Tally;

/// Bytes of a task's payload.
pub(crate) const PAYLOAD: usize = 256;

/// How long the same load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// Longest wait for the lives that are under way when the producers end.
const DRAIN: Duration = Duration::from_secs(120);

pub(crate) type Client = QueueServiceClient<Channel>;

/// Who does how much at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Enqueue calls at once.
    pub(crate) callers: usize,
    /// Tasks of one call.
    pub(crate) batch: usize,
    /// When the next call is made.
    pub(crate) pace: Pace,
}

/// When a caller makes its next call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When the one before is answered.
    Full,
    /// So many in a second, over all callers.
    PerSecond(f64),
}

/// Connections that calls are spread over.
const CONNECTIONS: usize = 4;
/// Work streams, and the credit of each.
const WORKERS: usize = 2;
const CREDIT: u32 = 1_024;

impl Load {
    /// One task a call.
    pub(crate) fn unary(callers: usize) -> Self {
        Self { callers, batch: 1, pace: Pace::Full }
    }

    /// `batch` tasks a call.
    pub(crate) fn batched(callers: usize, batch: usize) -> Self {
        Self { callers, batch, pace: Pace::Full }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Pace::PerSecond(rate) = self.pace {
            write!(f, "{rate:.0} calls/s, ")?;
        }
        let Self { callers, batch, .. } = self;
        write!(f, "{callers} callers on {CONNECTIONS} connections, {batch} × {PAYLOAD} B a call, ")?;
        write!(f, "{WORKERS} Work streams with credit {CREDIT}")
    }
}

/// Runs a load against a mesh, once to warm up and once measured.
pub(crate) async fn run(nova: &Nova, load: &Load, span: Duration) -> anyhow::Result<Outcome> {
    // Each mesh client has a connection of its own.
    let meshes: Vec<Mesh> = (0..CONNECTIONS).map(|_| nova.mesh()).collect();
    let clients: Vec<Client> = meshes.iter().map(Mesh::queue).collect();
    let workers = workers_of(nova)?;
    once(&clients, &workers, load, WARM_UP).await?;
    once(&clients, &workers, load, span).await
}

/// Clients that may work: operators may not. Each shows a worker's token on a connection of its own.
fn workers_of(nova: &Nova) -> anyhow::Result<Vec<Client>> {
    let token = nova.run(&["identity", "token", "worker/bench", "--role", "worker"]).ok();
    let client = |_| {
        let shown = Credential::bearer(nova.operator().roots, Some(token.trim().to_owned()));
        Ok(Mesh::new(nova.endpoints(), Credentials::new(shown)?)?.queue())
    };
    (0..WORKERS).map(client).collect()
}

async fn once(
    clients: &[Client],
    working: &[Client],
    load: &Load,
    span: Duration,
) -> anyhow::Result<Outcome> {
    let tally = Arc::new(Tally::new());
    let mut workers = JoinSet::new();
    for client in working {
        workers.spawn(workers::work(client.clone(), Arc::clone(&tally)));
    }
    let started = Instant::now();
    let producing = producers::produce(clients, load, &tally, span);
    let mut outcome = Outcome { enqueues: producing.await?, ..Outcome::default() };
    let drained = tokio::time::timeout(DRAIN, tally.all_done());
    tokio::select! {
        done = drained => done.context("tasks are left that nobody completes")?,
        Some(ended) = workers.join_next() => {
            ended??;
            anyhow::bail!("a Work stream ended before the load did");
        }
    }
    outcome.elapsed = started.elapsed();
    workers.shutdown().await;
    ensure!(tally.is_even(), "what was completed is not what was enqueued: {tally:?}");
    outcome.lives = tally.completed();
    outcome.starts = tally.take_starts();
    Ok(outcome)
}
