//! A worker: two halves, the link on its own thread and the handlers on the caller's runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nova_client::Mesh;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::dispatch::Dispatch;
use crate::handler::Handlers;
use crate::held::Held;
use crate::link::Link;
use crate::reports::Reports;
use crate::signals::told_to_end;
use crate::tally::Tally;
use crate::{Summary, WorkerBuilder};

/// How long a drain waits for the queue's last answers, after all handlers have ended or were given up.
const ANSWERS: Duration = Duration::from_secs(5);

/// What a worker was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) queues: Vec<String>,
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: usize,
    pub(crate) lease_duration: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) stop_timeout: Duration,
}

impl Settings {
    /// Leases that may be held at once, those whose outcome is owed not counted.
    pub(crate) fn places(&self) -> usize {
        self.concurrency.saturating_add(self.prefetch)
    }
}

/// Leases tasks and runs handlers.
#[derive(Debug)]
pub struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) mesh: Mesh,
    pub(crate) activity: Activity,
}

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue refuses what the worker asks for.
    #[error("the queue refuses the work stream: {}", .0.message())]
    Refused(Status),
    /// The thread of the stream could not be started, or ended by a panic.
    #[error("the thread of the work stream failed")]
    Thread(#[source] Option<io::Error>),
    /// No channel to the queue can be made.
    #[error("no channel to the queue")]
    Channel(#[source] tonic::transport::Error),
    /// The process's signals cannot be listened to.
    #[error("signals cannot be listened to")]
    Signals(#[source] io::Error),
}

/// How many tasks a worker runs now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Activity(pub(crate) Arc<AtomicU32>);

impl Activity {
    /// Handlers that run now.
    pub fn tasks(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Worker {
    /// Begins a worker that calls the daemons of `mesh`.
    pub fn builder(mesh: Mesh) -> WorkerBuilder {
        WorkerBuilder::new(mesh)
    }

    /// Tells how busy the worker is.
    pub fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Works until the process is told to end by SIGTERM or SIGINT, then drains as [`run`](Self::run) does.
    pub async fn run_until_signal(self) -> Result<Summary, WorkerError> {
        let told_to_end = told_to_end().map_err(WorkerError::Signals)?;
        let drain = CancellationToken::new();
        let signalled = async {
            told_to_end.await;
            tracing::info!("told to end: the worker drains");
            drain.cancel();
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            ended = self.run(drain.clone()) => ended,
            never = signalled => match never {},
        }
    }

    /// Works until `drain` fires, then starts nothing more, hands back what was not started, gives what runs its grace
    /// ([`WorkerBuilder::drain_timeout`]), cancels and hands back the rest, and tells what the worker has done.
    pub async fn run(self, drain: CancellationToken) -> Result<Summary, WorkerError> {
        let tally = Tally::default();
        let (grace_over, reports) = (CancellationToken::new(), Reports::default());
        let (assign, assignments) = mpsc::channel(self.settings.places());
        let (finish, finished) = mpsc::channel(self.settings.places());
        let link = Link {
            settings: self.settings.clone(),
            assignments: assign,
            finished,
            drain: drain.clone(),
            tally: tally.clone(),
            held: Held::default(),
            reports: reports.clone(),
            free: 0,
        };
        let ended = start(link, self.mesh.clone())?;
        let dispatch = Dispatch {
            handlers: self.handlers,
            mesh: self.mesh,
            activity: self.activity,
            reports,
            concurrency: self.settings.concurrency,
            stop_timeout: self.settings.stop_timeout,
            assignments,
            finished: finish,
            drain: drain.clone(),
            grace_over: grace_over.clone(),
        };
        tokio::select! {
            () = dispatch.run() => ended.await.unwrap_or(Err(WorkerError::Thread(None)))?,
            () = deadlines(&self.settings, &drain, &grace_over) => {}
        }
        Ok(tally.summary())
    }
}

/// The clock of a drain: ends when all patience is used up.
async fn deadlines(settings: &Settings, drain: &CancellationToken, grace_over: &CancellationToken) {
    drain.cancelled().await;
    tokio::time::sleep(settings.drain_timeout).await;
    grace_over.cancel();
    tokio::time::sleep(settings.stop_timeout + ANSWERS).await;
}

/// Starts the thread of the stream. Its connections are its own too: those of `mesh` are driven
/// by the runtime that handlers may keep busy.
fn start(link: Link, mesh: Mesh) -> Result<oneshot::Receiver<Result<(), WorkerError>>, WorkerError> {
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| WorkerError::Thread(Some(error)))?;
    let live = move || {
        let answer = runtime.block_on(async {
            let own = Mesh::new(mesh.endpoints().clone(), mesh.credentials().clone());
            link.run(own.map_err(WorkerError::Channel)?.queue()).await
        });
        // Nobody waits any more when the worker was dropped.
        drop(end.send(answer));
    };
    let thread = thread::Builder::new().name("work-stream".to_owned());
    thread.spawn(live).map_err(|error| WorkerError::Thread(Some(error)))?;
    Ok(ended)
}
