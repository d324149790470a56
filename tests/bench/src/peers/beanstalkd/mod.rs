//! beanstalkd with its log, through a client that does just enough: commands sent in groups on each connection.

mod connection;
mod producers;
mod workers;

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{NotInstalled, Peer, step};
use crate::job::{CONCURRENCY, Job, Outcome, Spread};
use crate::process;
use crate::system::System;
use connection::Connection;
use producers::Puts;

pub(super) struct Beanstalkd;

const NAME: &str = "beanstalkd";

/// Connections of producers, and of workers.
const CONNECTIONS: usize = 4;
/// How long it takes to come up.
const STARTUP: Duration = Duration::from_secs(5);
/// Longest that no job is deleted before all are.
const STALLED: Duration = Duration::from_secs(30);

#[async_trait]
impl Peer for Beanstalkd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn install(&self) -> anyhow::Result<()> {
        if is_installed() {
            return Ok(());
        }
        let install = ["apt-get", "install", "-y", NAME];
        step(Command::new(install[0]).args(&install[1..]))
            .or_else(|_| step(Command::new("sudo").arg("-n").args(install)))
            .context("Debian has it: apt-get install -y beanstalkd")
    }

    async fn open(&self) -> anyhow::Result<Box<dyn System>> {
        if !is_installed() {
            return Err(NotInstalled.into());
        }
        Ok(Box::new(Server::start().await?))
    }
}

fn is_installed() -> bool {
    step(Command::new(NAME).arg("-v")).is_ok()
}

/// A server with a log in a folder of its own.
#[derive(Debug)]
struct Server {
    port: u16,
    process: Child,
    #[expect(dead_code, reason = "the folder is held, not used")]
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What producers and workers of a job share.
#[derive(Debug)]
struct Progress {
    origin: Instant,
    put: AtomicU64,
    deleted: AtomicU64,
    /// So many are to be deleted; not known while producers put.
    goal: AtomicU64,
}

impl Progress {
    fn new(goal: u64) -> Self {
        let (put, deleted, goal) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(goal));
        Self { origin: Instant::now(), put, deleted, goal }
    }

    fn is_done(&self) -> bool {
        self.deleted.load(Relaxed) >= self.goal.load(Relaxed)
    }
}

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(NAME);
        command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-b"]).arg(folder.path());
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let server = Self { port, process, folder };
        let give_up = Instant::now() + STARTUP;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            ensure!(Instant::now() < give_up, "it does not come up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(server)
    }

    /// Puts on as many connections as there are callers, up to four; answers the microseconds of each group.
    async fn put(&self, puts: &Puts, progress: &Arc<Progress>) -> anyhow::Result<Vec<u32>> {
        let mut producers = JoinSet::new();
        for number in 0..puts.connections {
            let connection = Connection::open(self.port).await?;
            producers.spawn(producers::put(connection, puts.clone(), number, Arc::clone(progress)));
        }
        let mut micros = Vec::new();
        while let Some(ended) = producers.join_next().await {
            micros.extend(ended??);
        }
        Ok(micros)
    }

    /// Workers that delete up to `left` jobs, `concurrency` of them at once.
    async fn workers(
        &self,
        concurrency: usize,
        left: u64,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<JoinSet<anyhow::Result<Vec<u32>>>> {
        let mut workers = JoinSet::new();
        let connections = CONNECTIONS.min(concurrency);
        let left = Arc::new(AtomicU64::new(left));
        for _ in 0..connections {
            let connection = Connection::open(self.port).await?;
            let group = concurrency / connections;
            workers.spawn(workers::work(connection, group, Arc::clone(&left), Arc::clone(progress)));
        }
        Ok(workers)
    }

    async fn lives(&self, puts: &Puts, concurrency: usize) -> anyhow::Result<Outcome> {
        let progress = Arc::new(Progress::new(u64::MAX));
        let workers = self.workers(concurrency, u64::MAX, &progress).await?;
        let micros = self.put(puts, &progress).await?;
        let enqueued = progress.put.load(Relaxed);
        progress.goal.store(enqueued, Relaxed);
        let seconds = done(&progress).await?;
        let starts = ended(workers).await?;
        let completed = progress.deleted.load(Relaxed);
        ensure!(enqueued == completed, "{completed} jobs deleted of {enqueued}");
        Ok(Outcome { enqueued, completed, seconds, enqueue: Spread::of(micros), start: Spread::of(starts) })
    }

    async fn add(&self, puts: &Puts) -> anyhow::Result<Outcome> {
        let progress = Arc::new(Progress::new(0));
        let micros = self.put(puts, &progress).await?;
        let (enqueued, seconds) = (progress.put.load(Relaxed), progress.origin.elapsed().as_secs_f64());
        Ok(Outcome { enqueued, seconds, enqueue: Spread::of(micros), ..Outcome::default() })
    }

    async fn work(&self, concurrency: usize, tasks: u64) -> anyhow::Result<Outcome> {
        let progress = Arc::new(Progress::new(tasks));
        let workers = self.workers(concurrency, tasks, &progress).await?;
        let seconds = done(&progress).await?;
        ended(workers).await?;
        let completed = progress.deleted.load(Relaxed);
        Ok(Outcome { completed, seconds, ..Outcome::default() })
    }
}

/// Seconds until all is deleted; an error when nothing is for long.
async fn done(progress: &Progress) -> anyhow::Result<f64> {
    let (mut deleted, mut since) = (0, Instant::now());
    while !progress.is_done() {
        tokio::time::sleep(Duration::from_micros(500)).await;
        let before = std::mem::replace(&mut deleted, progress.deleted.load(Relaxed));
        if before != deleted {
            since = Instant::now();
        }
        ensure!(since.elapsed() < STALLED, "no job was deleted for {STALLED:?}, after {deleted}");
    }
    Ok(progress.origin.elapsed().as_secs_f64())
}

async fn ended(mut workers: JoinSet<anyhow::Result<Vec<u32>>>) -> anyhow::Result<Vec<u32>> {
    let mut starts = Vec::new();
    while let Some(ended) = workers.join_next().await {
        starts.extend(ended??);
    }
    Ok(starts)
}

#[async_trait]
impl System for Server {
    fn name(&self) -> &str {
        NAME
    }

    fn settings(&self) -> String {
        format!(
            "log, its default fsync each 50 ms; {CONNECTIONS} connections of producers and {CONNECTIONS} of workers, \
             on each of which the callers' commands, or those that are due, are under way at once"
        )
    }

    fn servers(&self) -> Vec<u32> {
        vec![self.process.id()]
    }

    fn clients(&self) -> Vec<u32> {
        vec![process::own()]
    }

    async fn run(&mut self, job: &Job) -> anyhow::Result<Outcome> {
        let doing = async {
            match *job {
                Job::Lives { callers, batch, per_second, seconds, .. } => {
                    let puts = Puts::within(callers, batch, per_second, seconds);
                    self.lives(&puts, CONCURRENCY.max(puts.under_way())).await
                }
                Job::Add { callers, batch, tasks } => self.add(&Puts::of(callers, batch, tasks)).await,
                Job::Work { concurrency, tasks } => self.work(concurrency, tasks).await,
            }
        };
        tokio::time::timeout(job.limit(), doing).await.context("jobs are left that nobody deletes")?
    }
}
