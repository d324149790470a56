//! Gives leases to handlers, each under a span that hangs below its producer's trace.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nova_client::Mesh;
use nova_proto::queue::v1::{Released, settlement};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

use crate::handler::Handlers;
use crate::link::{Assignment, Finished};
use crate::{Activity, Task, TaskContext};

/// The side of the worker that runs handlers.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) mesh: Mesh,
    pub(crate) activity: Activity,
    pub(crate) assignments: mpsc::Receiver<Assignment>,
    pub(crate) finished: mpsc::Sender<Finished>,
    pub(crate) drain: CancellationToken,
}

impl Dispatch {
    /// Runs handlers until the link has ended.
    pub(crate) async fn run(mut self) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                assignment = self.assignments.recv() => match assignment {
                    Some(assignment) => self.begin(assignment, &mut running),
                    None => return,
                },
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a task of the worker did not end");
                    }
                }
            }
        }
    }

    fn begin(&self, assignment: Assignment, running: &mut JoinSet<()>) {
        let finished = self.finished.clone();
        let Assignment { key, lease, lost } = assignment;
        if self.drain.is_cancelled() {
            let outcome = settlement::Outcome::Released(Released::default());
            running.spawn(report(finished, Finished { key, outcome }));
            return;
        }
        let task = Task::from(lease.task.unwrap_or_default());
        let span = span_of(&task, lease.attempt);
        let (handlers, activity) = (self.handlers.clone(), self.activity.clone());
        let context = TaskContext {
            task,
            attempt: lease.attempt,
            token: lease.token,
            lost,
            draining: self.drain.clone(),
            mesh: self.mesh.clone(),
        };
        activity.0.fetch_add(1, Ordering::Relaxed);
        running.spawn(async move {
            let outcome = handle(&handlers, context).instrument(span).await;
            report(finished, Finished { key, outcome }).await;
            activity.0.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn report(finished: mpsc::Sender<Finished>, what: Finished) {
    // The link has ended when nobody listens: the lease expires and the task runs elsewhere.
    if finished.send(what).await.is_err() {
        tracing::warn!("a result was dropped: the worker has ended");
    }
}

async fn handle(handlers: &Handlers, context: TaskContext) -> settlement::Outcome {
    match handlers.run(context).await {
        Ok(result) => settlement::Outcome::Completed(result),
        Err(failure) => {
            let span = Span::current();
            span.record("otel.status_code", "ERROR");
            span.record("error.type", failure.reason());
            tracing::info!(reason = failure.reason(), error = failure.message(), "an attempt failed");
            failure.into_outcome()
        }
    }
}

/// The consumer's span: OpenTelemetry's conventions for messaging.
fn span_of(task: &Task, attempt: u32) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "task",
        otel.name = format!("process {}", task.kind),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        error.r#type = field::Empty,
        messaging.system = "nova",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = task.queue,
        messaging.message.id = task.id,
        nova.task.kind = task.kind,
        nova.task.attempt = attempt,
        nova.run = task.metadata.get("run"),
        nova.step = task.metadata.get("step"),
    );
    nova_rpc::trace::set_remote_parent(&span, &task.traceparent);
    span
}
