//! What a handler is given.

use std::collections::HashMap;

use bytes::Bytes;
use nova_client::Mesh;
use nova_proto::queue::v1 as pb;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::Failure;

/// A task under a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its id, a UUIDv7.
    pub id: String,
    /// Queue it came from.
    pub queue: String,
    /// Kind of work.
    pub kind: String,
    /// What there is to work on.
    pub payload: Bytes,
    /// Labels.
    pub metadata: HashMap<String, String>,
    /// Attempts allowed in all.
    pub max_attempts: u32,
    /// W3C trace context of the producer; may be empty.
    pub traceparent: String,
}

impl From<pb::Task> for Task {
    fn from(task: pb::Task) -> Self {
        Self {
            id: task.id,
            queue: task.queue,
            kind: task.kind,
            payload: task.payload,
            metadata: task.metadata,
            max_attempts: task.max_attempts,
            traceparent: task.traceparent,
        }
    }
}

/// A handler's surroundings.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// The task.
    pub task: Task,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Fencing token of the lease.
    pub token: u64,
    /// Fires when the lease is lost: another worker may have the task by now, so stop.
    pub lost: CancellationToken,
    /// Fires when the worker drains: what can end early, should.
    pub draining: CancellationToken,
    /// Clients of the mesh; calls are made under the task's span.
    pub mesh: Mesh,
}

impl TaskContext {
    /// Runs what blocks, under the task's span, on a thread made for that.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let span = Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Failure::new("HANDLER_PANICKED", "the handler panicked; the worker's log has the place"))
            }
        }
    }
}
