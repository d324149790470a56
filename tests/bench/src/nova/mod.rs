//! Nova under measurement: a real mesh over one of its stores, driven through the contract of its queue.

mod expiry;
mod overload;
mod producers;
mod purge;
mod recovery;
mod tally;
mod variant;
mod worker_process;
mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use clap::ValueEnum;
use nova_client::{Channel, Mesh};
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;
use nova_proto::queue::v1::{GetQueueRequest, QueueStats};
use nova_testkit::redis::RedisServer;
use nova_testkit::{Collector, Nova};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::job::{DRAIN, Job, Outcome, Spread};
use crate::mesh::{self, Settings};
use crate::process;
use crate::system::{SpanCounts, System};
use producers::Calls;
use tally::Tally;
pub(crate) use variant::Variant;
use worker_process::WorkerProcess;
pub(crate) use worker_process::run as work_as_told;
use workers::Share;

/// How Redis syncs, for Nova and for its peers.
pub(crate) const REDIS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// Nova's systems as they are by default: those that a table compares with peers.
pub(crate) const SYSTEMS: [&str; 2] = ["nova-sqlite", "nova-redis"];

/// Connections that calls are spread over.
const CONNECTIONS: usize = 4;
/// Work streams, and the credit of each where a job does not say how many tasks are worked at once.
const STREAMS: usize = 2;
const CREDIT: u64 = 1_024;
/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(5);

type Client = QueueServiceClient<Channel>;

/// Where the queue keeps its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// Embedded, synced before every reply.
    Sqlite,
    /// A Redis of the bench's own.
    Redis,
}

/// A mesh and clients of its queue.
#[derive(Debug)]
pub(crate) struct NovaSystem {
    store: StoreKind,
    variant: Variant,
    /// Where every call is traced: what counts the spans that arrive.
    collector: Option<Collector>,
    producing: Vec<Client>,
    working: Vec<Client>,
    tally: Arc<Tally>,
    /// Of another queue, beside what stands in the first.
    aside: Arc<Tally>,
    /// Of the queue that a process with the worker SDK works on, and that process, once it is needed.
    sdk: Arc<Tally>,
    worker: Option<WorkerProcess>,
    // The mesh goes down before its Redis does.
    nova: Nova,
    redis: Option<RedisServer>,
}

impl NovaSystem {
    /// Brings a mesh up, and connects to its queue.
    pub(crate) fn open(store: StoreKind, variant: Variant, settings: &Settings) -> anyhow::Result<Self> {
        let redis = (store == StoreKind::Redis).then(|| RedisServer::start_with(&REDIS));
        let url = redis.as_ref().map_or_else(|| "sqlite".to_owned(), RedisServer::url);
        let collector = (variant == Variant::Traced).then(Collector::counting);
        let endpoint = collector.as_ref().map(|collector| &*collector.endpoint);
        let nova = mesh::up(&url, variant.arguments(), endpoint, settings)?;
        // Each mesh client has a connection of its own.
        let clients = |meshes: Vec<Mesh>| meshes.iter().map(Mesh::queue).collect();
        let producing = clients(variant.producers(&nova, CONNECTIONS));
        let working = clients(variant.workers(&nova, STREAMS));
        let [tally, aside, sdk] = ["bench", "aside", "sdk"].map(|queue| Arc::new(Tally::new(queue)));
        Ok(Self {
            store,
            variant,
            collector,
            producing,
            working,
            tally,
            aside,
            sdk,
            worker: None,
            nova,
            redis,
        })
    }

    /// The process of its queue daemon.
    pub(crate) fn queue_process(&self) -> u32 {
        self.nova.pid_of("queue")
    }

    async fn lives(&self, tally: &Arc<Tally>, calls: Calls) -> anyhow::Result<Vec<u32>> {
        let mut workers = self.work(tally, CREDIT, None);
        let micros = calls.run(&self.producing, tally).await?;
        drained(&mut workers, tally.completes(tally.enqueued())).await?;
        Ok(micros)
    }

    /// Lives that the SDK's process works on.
    async fn lives_with_sdk(&self, calls: Calls) -> anyhow::Result<Vec<u32>> {
        let micros = calls.run(&self.producing, &self.sdk).await?;
        self.worked_with_sdk().await?;
        Ok(micros)
    }

    /// Waits until the SDK's process has handled all that was enqueued, and settled it.
    async fn worked_with_sdk(&self) -> anyhow::Result<()> {
        timeout(DRAIN, self.settled_with_sdk()).await.context("it is not worked off in time")?
    }

    async fn settled_with_sdk(&self) -> anyhow::Result<()> {
        let worker = self.worker.as_ref().context("a worker process works")?;
        tokio::select! {
            () = self.sdk.completes(self.sdk.enqueued()) => {}
            () = worker.ended() => bail!("the worker process ended before the load did"),
        }
        while self.stats(self.sdk.queue).await?.leased > 0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What a queue holds.
    async fn stats(&self, queue: &str) -> anyhow::Result<QueueStats> {
        let request = GetQueueRequest { queue: queue.to_owned(), ..Default::default() };
        let answer = self.producing[0].clone().get_queue(request).await?.into_inner();
        answer.queue.and_then(|queue| queue.stats).context("a queue has stats")
    }

    /// Starts workers of a queue that hold `credit` tasks each, until they have had their share of `tasks`.
    fn work(&self, tally: &Arc<Tally>, credit: u64, tasks: Option<u64>) -> JoinSet<anyhow::Result<()>> {
        let mut workers = JoinSet::new();
        let streams = STREAMS.min(usize::try_from(credit).unwrap_or(STREAMS));
        for (number, client) in self.working.iter().take(streams).enumerate() {
            let share = tasks.map(|tasks| part(tasks, streams, number));
            let credit = if tasks.is_some() { part(credit, streams, number) } else { credit };
            workers.spawn(workers::work(client.clone(), Arc::clone(tally), Share::new(credit, share)));
        }
        workers
    }

    /// Starts the process that works with the SDK, unless it works already.
    async fn work_with_sdk(&mut self) -> anyhow::Result<()> {
        if self.worker.is_none() {
            let orders = self.variant.orders(&self.nova, self.sdk.queue)?;
            let traced = self.variant == Variant::Traced;
            self.worker = Some(WorkerProcess::start(orders, traced, Arc::clone(&self.sdk)).await?);
        }
        Ok(())
    }

    async fn work_off(&self, tally: &Arc<Tally>, concurrency: usize, tasks: u64) -> anyhow::Result<()> {
        let goal = tally.completed() + tasks;
        let mut workers = self.work(tally, concurrency as u64, Some(tasks));
        drained(&mut workers, tally.completes(goal)).await
    }

    /// Does it on the queue of a tally; answers the microseconds of each call.
    async fn done(&self, tally: &Arc<Tally>, job: &Job) -> anyhow::Result<Vec<u32>> {
        match *job {
            Job::Lives { callers, batch, per_second, seconds, sdk } => {
                let calls = Calls::within(callers, batch, per_second, seconds);
                if sdk { self.lives_with_sdk(calls).await } else { self.lives(tally, calls).await }
            }
            Job::Add { callers, batch, tasks } => {
                Calls::of(callers, batch, tasks).run(&self.producing, tally).await
            }
            Job::Work { concurrency, tasks } => {
                self.work_off(tally, concurrency, tasks).await.map(|()| Vec::new())
            }
        }
    }

    /// What comes of a job on the queue of a tally.
    async fn outcome(&self, tally: &Arc<Tally>, job: &Job) -> anyhow::Result<Outcome> {
        let (enqueued, completed) = (tally.enqueued(), tally.completed());
        tally.take_starts();
        let began = Instant::now();
        let doing = timeout(job.limit(), self.done(tally, job));
        let micros = doing.await.context("it is not done in time")??;
        let seconds = began.elapsed().as_secs_f64();
        tally.check()?;
        let starts = tally.take_starts();
        Ok(Outcome {
            enqueued: tally.enqueued() - enqueued,
            completed: tally.completed() - completed,
            seconds,
            enqueue: Spread::of(micros),
            start: matches!(job, Job::Lives { .. }).then(|| Spread::of(starts)).flatten(),
        })
    }
}

#[async_trait]
impl System for NovaSystem {
    fn name(&self) -> &str {
        match (self.store, self.variant) {
            (store, Variant::Tls) => SYSTEMS[store as usize],
            (StoreKind::Sqlite, Variant::Plaintext) => "nova-sqlite-plaintext",
            (StoreKind::Redis, Variant::Plaintext) => "nova-redis-plaintext",
            (StoreKind::Sqlite, Variant::Traced) => "nova-sqlite-traced",
            (StoreKind::Redis, Variant::Traced) => "nova-redis-traced",
        }
    }

    fn settings(&self) -> String {
        let sync = match self.store {
            StoreKind::Sqlite => "fsync before every reply",
            StoreKind::Redis => "Redis, AOF everysec",
        };
        let (security, traces) = (self.variant.security(), self.variant.traces());
        format!(
            "{sync}; {security}, identity and policy on every call; {CONNECTIONS} connections of producers, {STREAMS} \
             Work streams with credit {CREDIT} each where a job does not say how many are worked at once; {traces}"
        )
    }

    fn servers(&self) -> Vec<u32> {
        let mesh = self.nova.mesh_file();
        let supervisor = mesh.and_then(|mesh| u32::try_from(mesh["pid"].as_u64()?).ok());
        supervisor.into_iter().chain(self.redis.as_ref().map(RedisServer::pid)).collect()
    }

    fn clients(&self) -> Vec<u32> {
        let worker = self.worker.as_ref().and_then(WorkerProcess::pid);
        worker.into_iter().chain([process::own()]).collect()
    }

    fn spans(&self) -> Option<SpanCounts> {
        let collector = self.collector.as_ref()?;
        let status = self.nova.run(&["--json", "status"]).json();
        let count = |which: &str| status["spans"][which].as_u64().unwrap_or_default();
        Some(SpanCounts { recorded: count("recorded"), lost: count("lost"), arrived: collector.count() })
    }

    async fn run(&mut self, job: &Job) -> anyhow::Result<Outcome> {
        if matches!(job, Job::Lives { sdk: true, .. }) {
            self.work_with_sdk().await?;
            return self.outcome(&self.sdk, job).await;
        }
        self.outcome(&self.tally, job).await
    }

    async fn aside(&mut self, job: &Job) -> anyhow::Result<Option<Outcome>> {
        self.outcome(&self.aside, job).await.map(Some)
    }

    fn has_sdk(&self) -> bool {
        true
    }

    fn worker_spans(&self) -> Option<SpanCounts> {
        self.worker.as_ref()?.spans(self.sdk.completed())
    }

    async fn expire(&mut self) -> anyhow::Result<Option<f64>> {
        self.run_out().await.map(Some)
    }

    async fn recover(&mut self) -> anyhow::Result<Option<f64>> {
        self.come_back().await.map(Some)
    }
}

/// Waits until all is done, and stops the workers: none ends by itself.
async fn drained(
    workers: &mut JoinSet<anyhow::Result<()>>,
    done: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = done => {}
        Some(ended) = workers.join_next() => {
            ended??;
            bail!("a Work stream ended before the load did");
        }
    }
    workers.shutdown().await;
    Ok(())
}

/// What of `whole` the part with this number is, when it is dealt out evenly.
fn part(whole: u64, parts: usize, number: usize) -> u64 {
    let (parts, number) = (parts as u64, number as u64);
    whole / parts + u64::from(number < whole % parts)
}
