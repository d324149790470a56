//! A worker: two halves, the link on its own thread and the handlers on the caller's runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nova_client::Mesh;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::WorkerBuilder;
use crate::dispatch::Dispatch;
use crate::handler::Handlers;
use crate::held::Held;
use crate::link::Link;

/// What a worker was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) queues: Vec<String>,
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) lease_duration: Duration,
    pub(crate) drain_timeout: Duration,
}

/// Leases tasks and runs handlers.
#[derive(Debug)]
pub struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) mesh: Mesh,
    pub(crate) activity: Activity,
}

/// Why a worker ended before it was told to, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue refuses what the worker asks for.
    #[error("the queue refuses the work stream: {}", .0.message())]
    Refused(Status),
    /// A drain took too long: what was not settled will be leased to others.
    #[error("the drain took longer than {0:?}")]
    Undrained(Duration),
    /// The thread of the stream could not be started, or ended by a panic.
    #[error("the thread of the work stream failed")]
    Thread(#[source] Option<std::io::Error>),
    /// No channel to the queue can be made.
    #[error("no channel to the queue")]
    Channel(#[source] tonic::transport::Error),
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

    /// Works until `drain` fires and all that was begun is settled.
    pub async fn run(self, drain: CancellationToken) -> Result<(), WorkerError> {
        let concurrency = self.settings.concurrency;
        let (assign, assignments) = mpsc::channel(concurrency);
        let (finish, finished) = mpsc::channel(concurrency);
        let link = Link {
            settings: self.settings.clone(),
            assignments: assign,
            finished,
            drain: drain.clone(),
            held: Held::default(),
        };
        let ended = start(link, self.mesh.clone())?;
        let dispatch = Dispatch {
            handlers: self.handlers,
            mesh: self.mesh,
            activity: self.activity,
            assignments,
            finished: finish,
            drain: drain.clone(),
        };
        let timeout = self.settings.drain_timeout;
        tokio::select! {
            () = dispatch.run() => ended.await.unwrap_or(Err(WorkerError::Thread(None))),
            () = overdue(&drain, timeout) => Err(WorkerError::Undrained(timeout)),
        }
    }
}

async fn overdue(drain: &CancellationToken, timeout: Duration) {
    drain.cancelled().await;
    tokio::time::sleep(timeout).await;
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
