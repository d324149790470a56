//! What can go wrong in the queue, and what a caller is told.

use std::{sync::Arc, time::Duration};

use nova_rpc::Reason;
use nova_types::Violation;
use uuid::Uuid;

/// Failures of the queue's verbs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A known idempotency key came with another body.
    #[error("request_id {request_id:?} made task {id} from another body")]
    IdempotencyMismatch {
        /// The key.
        request_id: String,
        /// The task that it made.
        id: Uuid,
    },
    /// The queue takes nothing in.
    #[error("queue {queue:?} drains: it takes no tasks in until it is resumed")]
    Draining {
        /// The queue.
        queue: String,
    },
    /// The queue cannot go: it holds what somebody may still want.
    #[error("queue {queue:?} holds {live} tasks that have not ended and {dead} dead letters")]
    QueueNotEmpty {
        /// The queue.
        queue: String,
        /// Tasks that have not ended.
        live: u64,
        /// Dead letters.
        dead: u64,
    },
    /// The queue holds as many tasks as its settings allow.
    #[error("queue {queue:?} holds as many tasks as its max_tasks of {limit} allows")]
    QueueFull {
        /// The queue.
        queue: String,
        /// The limit.
        limit: u64,
    },
    /// A task names one to wait for that is not there.
    #[error("task {id} does not exist, or is forgotten")]
    NoParent {
        /// Place of the task in its call.
        task: usize,
        /// Place of the id among those that it names.
        index: usize,
        /// The id.
        id: Uuid,
    },
    /// As many tasks wait for others as may.
    #[error("tasks wait for other tasks at most {0} times")]
    TooManyEdges(usize),
    /// No such queue.
    #[error("queue {0:?} does not exist")]
    NoQueue(String),
    /// No such schedule.
    #[error("schedule {0:?} does not exist")]
    NoSchedule(String),
    /// No such task.
    #[error("task {0} does not exist")]
    NoTask(Uuid),
    /// The queue belongs to agents.
    #[error("queue {queue:?} is reserved for agents: only {who} may {verb} it")]
    Reserved {
        /// The queue.
        queue: String,
        /// Who may: `the role …`, or one agent.
        who: String,
        /// What the caller may not.
        verb: &'static str,
    },
    /// The lease ended, or never was.
    #[error("lease {token} of task {id} is no longer held")]
    LeaseLost {
        /// The task.
        id: Uuid,
        /// The token.
        token: u64,
    },
    /// As many tasks as may live do.
    #[error("{held} tasks are held and at most {limit} may be")]
    TooManyTasks {
        /// How many there are.
        held: usize,
        /// The limit.
        limit: usize,
    },
    /// Live tasks take as much memory as they may.
    #[error("tasks take {held} bytes of memory and at most max_bytes of {limit} may be taken")]
    TooManyBytes {
        /// How many they take.
        held: usize,
        /// The limit.
        limit: usize,
    },
    /// As many queues as may be named are.
    #[error("at most {0} queues may exist")]
    TooManyQueues(usize),
    /// As many schedules as may be are stored.
    #[error("at most {0} schedules may exist")]
    TooManySchedules(usize),
    /// As many calls wait as may.
    #[error("the queue takes no more {0} now")]
    Busy(&'static str),
    /// As many streams are open as may be.
    #[error("{0} streams are open, which is the most that may be; close one, or raise max_streams")]
    TooManyStreams(usize),
    /// The event log has passed the cursor.
    #[error("the event log no longer reaches back to this cursor")]
    CursorExpired,
    /// The store failed; nothing was changed.
    #[error("the store of the queue failed: {0}")]
    Store(String),
    /// Another daemon owns the ledger.
    #[error("the daemon at {url} leads the queue")]
    Owned {
        /// Where it serves.
        url: Arc<str>,
        /// The host that this URL was told on.
        host: Arc<str>,
        /// Epoch of its claim.
        epoch: u64,
        /// How long its claim lasts unless it is renewed.
        left: Duration,
    },
    /// Another daemon has taken the ledger from this one.
    #[error("another daemon leads the queue now")]
    Deposed,
    /// No daemon is known to lead, and the ledger has not been asked yet.
    #[error("no daemon is known to lead the queue yet")]
    Leaderless,
    /// The daemon stops.
    #[error("the queue is shutting down")]
    Closed,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<nova_storage::Error> for Error {
    fn from(error: nova_storage::Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<redis::ParsingError> for Error {
    fn from(error: redis::ParsingError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        Self::Store(error.to_string())
    }
}

/// How long a caller should rest before it tries a busy queue again.
const REST: Duration = Duration::from_millis(50);

impl From<Error> for nova_rpc::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::IdempotencyMismatch { .. } => Self::aborted(Reason::IdempotencyMismatch, text),
            Error::Draining { .. } => Self::precondition(Reason::QueueDraining, text),
            Error::QueueNotEmpty { .. } => Self::precondition(Reason::QueueNotEmpty, text),
            Error::QueueFull { .. } => Self::exhausted(Reason::Overloaded, text, REST * 20),
            Error::NoParent { task, index, .. } => {
                Self::invalid(Violation::new(format!("tasks[{task}].after[{index}]"), text))
            }
            Error::NoQueue(name) => Self::not_found("nova.queue.v1.Queue", name),
            Error::NoSchedule(name) => Self::not_found("nova.queue.v1.Schedule", name),
            Error::NoTask(id) => Self::not_found("nova.queue.v1.Task", id.to_string()),
            Error::Reserved { .. } => Self::forbidden(text),
            Error::LeaseLost { .. } => Self::precondition(Reason::LeaseLost, text),
            Error::TooManyTasks { .. }
            | Error::TooManyBytes { .. }
            | Error::TooManyQueues(_)
            | Error::TooManySchedules(_)
            | Error::TooManyStreams(_)
            | Error::TooManyEdges(_) => Self::exhausted(Reason::Overloaded, text, REST * 20),
            Error::Busy(_) => Self::exhausted(Reason::Overloaded, text, REST),
            Error::CursorExpired => Self::out_of_range(Reason::CursorExpired, text),
            Error::Store(_) => Self::unavailable("store", text),
            Error::Closed | Error::Owned { .. } | Error::Deposed | Error::Leaderless => {
                Self::unavailable("queue", text)
            }
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        if let Error::Store(detail) = &error {
            tracing::error!(detail, "the store of the queue failed");
        }
        nova_rpc::Error::from(error).into()
    }
}
