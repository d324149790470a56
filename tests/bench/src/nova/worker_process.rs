//! A worker in a process of its own, written with the worker SDK as services write theirs: its spans are told where all
//! others are, and it shares neither threads nor allocator with those who make the load.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nova_client::{Credential, Credentials, Endpoints, Mesh};
use nova_runtime::config::TelemetryConfig;
use nova_runtime::telemetry::Telemetry;
use nova_testkit::Collector;
use nova_worker::{Failure, TaskRequest, Worker};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::tally::{Count, Tally};
use crate::system::SpanCounts;

/// Handlers at once, and leases that wait for one.
const CONCURRENCY: usize = 128;
const PREFETCH: usize = 896;
/// How often a process tells what it has done.
const TELL: Duration = Duration::from_millis(5);

/// Spans of a task: receive, process, settle; and that of the stream.
const SPANS: u64 = 3;
const STREAM: u64 = 1;

/// The first line of its standard input. It works until that ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// Where the daemons are, whom to trust, as PEM, and what to show.
    pub(super) endpoints: Endpoints,
    pub(super) roots: String,
    pub(super) token: String,
    /// Whose tasks it completes.
    pub(super) queue: String,
    /// Where its spans go; none: it makes none.
    pub(super) collector: Option<String>,
}

/// A line of its standard output: what was done since the one before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Done {
    /// Tasks that were handled.
    pub(super) tasks: u64,
    /// The sum of a hash of their ids.
    pub(super) ids: u64,
}

/// A worker process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    process: Child,
    /// It works as long as this is open.
    _orders: ChildStdin,
    _listening: JoinSet<()>,
    ended: CancellationToken,
    collector: Option<Collector>,
}

impl WorkerProcess {
    /// Starts one, and waits until it works; what it does is added to the tally.
    pub(super) async fn start(mut orders: Orders, traced: bool, tally: Arc<Tally>) -> anyhow::Result<Self> {
        let collector = traced.then(Collector::counting);
        orders.collector = collector.as_ref().map(|collector| collector.endpoint.clone());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--worker").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("a worker process")?;
        let mut told = process.stdin.take().context("it has a standard input")?;
        told.write_all((serde_json::to_string(&orders)? + "\n").as_bytes()).await?;
        let mut lines = BufReader::new(process.stdout.take().context("it has a standard output")?);
        listen_once(&mut lines, &tally).await?.context("the worker process has ended")?;
        let (mut listening, ended) = (JoinSet::new(), CancellationToken::new());
        let told_ended = ended.clone().drop_guard();
        listening.spawn(async move {
            while let Ok(Some(())) = listen_once(&mut lines, &tally).await {}
            drop(told_ended);
        });
        Ok(Self { process, _orders: told, _listening: listening, ended, collector })
    }

    /// Waits until it ends, which it should not.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Spans that it must have made of so many tasks, and those that have arrived; none when it makes none.
    pub(super) fn spans(&self, tasks: u64) -> Option<SpanCounts> {
        let arrived = self.collector.as_ref()?.count();
        Some(SpanCounts { recorded: SPANS * tasks + STREAM, lost: 0, arrived })
    }
}

/// Adds what one line tells; none at the end.
async fn listen_once(lines: &mut BufReader<ChildStdout>, tally: &Tally) -> anyhow::Result<Option<()>> {
    let mut line = String::new();
    if lines.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    tally.complete_all(&serde_json::from_str(&line)?);
    Ok(Some(()))
}

/// The process itself: works as it is told on its standard input, until that ends.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut told = BufReader::new(tokio::io::stdin()).lines();
    let orders = told.next_line().await?.context("nobody tells what to work on")?;
    let orders: Orders = serde_json::from_str(&orders)?;
    let telemetry = Telemetry::start("bench-worker", "1", &orders.telemetry())?;
    let (done, drain) = (Arc::<Count>::default(), CancellationToken::new());
    let ended = async {
        while told.next_line().await?.is_some() {}
        drain.cancel();
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        summary = orders.worker(Arc::clone(&done))?.run(drain.clone()) => drop(summary?),
        ended = ended => ended?,
        told = tell(&done) => told?,
    }
    // It blocks.
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    Ok(())
}

impl Orders {
    fn telemetry(&self) -> TelemetryConfig {
        TelemetryConfig {
            log_filter: "warn".to_owned(),
            trace_ratio: if self.collector.is_some() { 1.0 } else { 0.0 },
            otlp_endpoint: self.collector.clone().unwrap_or_default(),
            ..TelemetryConfig::default()
        }
    }

    fn worker(&self, done: Arc<Count>) -> anyhow::Result<Worker> {
        nova_client::install_crypto_provider();
        let credential = Credential::token_from_pem(&self.roots, self.token.clone())?;
        let mesh = Mesh::new(self.endpoints.clone(), Credentials::new(credential)?)?;
        let handler = service_fn(move |request: TaskRequest| {
            done.add(std::iter::once(request.context.task.id.as_str()));
            async { Ok::<_, Failure>(bytes::Bytes::new()) }
        });
        let worker = Worker::builder(mesh).queue(&self.queue).concurrency(CONCURRENCY).prefetch(PREFETCH);
        Ok(worker.handle_service("bench", handler).build()?)
    }
}

/// Tells over and over what was handled since it was told before, at first that nothing was.
async fn tell(handled: &Count) -> anyhow::Result<()> {
    let mut done = Done::default();
    loop {
        let line = serde_json::to_string(&done)? + "\n";
        if std::io::stdout().write_all(line.as_bytes()).is_err() {
            bail!("nobody listens");
        }
        done = next(handled).await;
    }
}

/// Waits until something was handled, and takes it.
async fn next(handled: &Count) -> Done {
    loop {
        tokio::time::sleep(TELL).await;
        if let Some(done) = handled.take() {
            return done;
        }
    }
}
