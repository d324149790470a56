//! Gives leases to handlers, as many at once as the worker may run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nova_client::Mesh;
use nova_proto::queue::v1::{Released, settlement};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::attempt::attempt;
use crate::handler::Handlers;
use crate::link::{Assignment, Finished};
use crate::reports::{Reporter, Reports};
use crate::{Activity, Context, Task, TaskRequest};

/// The side of the worker that runs handlers.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) mesh: Mesh,
    pub(crate) activity: Activity,
    pub(crate) reports: Reports,
    pub(crate) concurrency: usize,
    pub(crate) stop_timeout: Duration,
    pub(crate) assignments: mpsc::Receiver<Assignment>,
    pub(crate) finished: mpsc::Sender<Finished>,
    pub(crate) drain: CancellationToken,
    pub(crate) grace_over: CancellationToken,
}

impl Dispatch {
    /// Runs handlers until the link has ended.
    pub(crate) async fn run(mut self) {
        let mut running = JoinSet::new();
        loop {
            let draining = self.drain.is_cancelled();
            tokio::select! {
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a task of the worker did not end");
                    }
                }
                assignment = self.assignments.recv(), if draining || running.len() < self.concurrency => {
                    match assignment {
                        Some(assignment) => self.begin(assignment, &mut running),
                        None => return,
                    }
                }
                () = self.drain.cancelled(), if !draining => {}
            }
        }
    }

    /// Starts a handler, unless the lease is lost by now or nothing is to be started any more.
    fn begin(&self, assignment: Assignment, running: &mut JoinSet<()>) {
        let finished = self.finished.clone();
        let key = assignment.key.clone();
        if self.drain.is_cancelled() || assignment.claim.cancellation.reason().is_some() {
            let outcome = settlement::Outcome::Released(Released::default());
            running.spawn(report(finished, Finished { key, outcome, settling: Span::none() }));
            return;
        }
        let request = self.request(assignment);
        let service = self.handlers.of(&request.context.task.kind);
        let active = Active::new(&self.activity);
        let work = attempt(service, request, self.grace_over.clone(), self.stop_timeout);
        running.spawn(async move {
            let (outcome, settling) = work.await;
            report(finished, Finished { key, outcome, settling }).await;
            drop(active);
        });
    }

    fn request(&self, assignment: Assignment) -> TaskRequest {
        let lease = assignment.lease;
        let mut task = lease.task.unwrap_or_default();
        let checkpoint = std::mem::take(&mut task.checkpoint);
        let mesh = self.mesh.under_lease(&task.namespace, &task.id, lease.token);
        let (task, payload) = Task::from_wire(task);
        let context = Context {
            task,
            attempt: lease.attempt,
            token: lease.token,
            mesh,
            extensions: http::Extensions::new(),
            claim: assignment.claim,
            checkpoint,
            reporter: Reporter { key: assignment.key, reports: self.reports.clone() },
            draining: self.drain.clone(),
            blocking: TaskTracker::new(),
        };
        TaskRequest { payload, context }
    }
}

async fn report(finished: mpsc::Sender<Finished>, what: Finished) {
    // The link has ended when nobody listens: the lease expires and the task runs elsewhere.
    if finished.send(what).await.is_err() {
        tracing::warn!("a result was dropped: the worker has ended");
    }
}

/// Counts a handler as long as it runs.
struct Active(Arc<AtomicU32>);

impl Active {
    fn new(activity: &Activity) -> Self {
        activity.0.fetch_add(1, Ordering::Relaxed);
        Self(activity.0.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
