//! A task as a handler sees it, and the request that services of handlers are called with.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use nova_proto::queue::v1 as pb;
use nova_types::Timestamp;
use tower::BoxError;
use tower::util::BoxCloneSyncService;

use crate::Context;

/// A task under a lease, without its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its id, a UUIDv7.
    pub id: String,
    /// Queue it came from.
    pub queue: String,
    /// Kind of work.
    pub kind: String,
    /// Labels.
    pub metadata: HashMap<String, String>,
    /// When it was stored, by the queue's clock.
    pub created: Timestamp,
    /// Attempts allowed in all.
    pub max_attempts: u32,
    /// Longest time of one attempt, kept by the queue; none means as long as the handler goes on.
    pub attempt_timeout: Option<Duration>,
    /// W3C trace context of the producer; may be empty.
    pub traceparent: String,
    /// W3C trace context of the last attempt before this one that failed and told of a span; may be empty.
    pub failed_traceparent: String,
}

impl Task {
    /// Takes the payload out of the message.
    pub(crate) fn from_wire(task: pb::Task) -> (Self, Bytes) {
        let payload = task.payload;
        let traced = task.history.into_iter().rfind(|attempt| !attempt.traceparent.is_empty());
        let task = Self {
            id: task.id,
            queue: task.queue,
            kind: task.kind,
            metadata: task.metadata,
            created: task.create_time.as_ref().map(Timestamp::from_wire).unwrap_or_default(),
            max_attempts: task.max_attempts,
            attempt_timeout: task.attempt_timeout.and_then(|longest| longest.try_into().ok()),
            traceparent: task.traceparent,
            failed_traceparent: traced.map(|attempt| attempt.traceparent).unwrap_or_default(),
        };
        (task, payload)
    }
}

/// One attempt, as layers see it on its way to the handler. They may change both parts.
#[derive(Clone, Debug)]
pub struct TaskRequest {
    /// What there is to work on, as it was enqueued.
    pub payload: Bytes,
    /// Everything else: the task, its attempt, and what the handler is given beside the payload.
    pub context: Context,
}

/// A handler, or a layer around one, as the worker keeps it: it answers the bytes of the result. An error that
/// is a [`Failure`](crate::Failure) counts as such; see [`Failure`](crate::Failure) for all others.
pub type TaskService = BoxCloneSyncService<TaskRequest, Bytes, BoxError>;
