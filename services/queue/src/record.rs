//! The shapes that the queue speaks of: tasks, leases, settlements, events.
//!
//! Plain values, the same over both stores. Times are microseconds since the epoch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    intake::Intake,
    mark::Mark,
    task::{Failure, Micros, Retry, State},
    terms::Terms,
    trail::{Progress, Trail},
};

pub use crate::rate::RateLimit;

/// What a producer said of a task; it never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Namespace that the task lives in.
    pub namespace: Arc<str>,
    /// Queue that it waits in.
    pub queue: Arc<str>,
    /// Kind of work.
    pub kind: Arc<str>,
    /// Labels, sorted by key.
    pub metadata: Vec<(Box<str>, Box<str>)>,
    /// Idempotency key; empty for none.
    pub request_id: Box<str>,
    /// Fingerprint of the request's body; zero without a key.
    pub body_hash: u64,
    /// 0 (lowest) to 9.
    pub priority: u8,
    /// How attempts are repeated.
    pub retry: Retry,
    /// Longest time of one attempt.
    pub attempt_timeout: Option<Duration>,
    /// W3C trace context of the producer; empty for none.
    pub traceparent: Box<str>,
    /// Whom it is for; shares and limits of the queue are by group.
    pub group: Arc<str>,
    /// What it is bound to; few tasks are.
    pub terms: Option<Box<Terms>>,
}

impl Spec {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    /// About the bytes that it takes in a message.
    pub fn size(&self) -> usize {
        const FIXED: usize = 256;
        let labels = self.metadata.iter().map(|(key, value)| key.len() + value.len() + 8);
        let terms = self.terms.as_ref().map_or(0, |terms| terms.size());
        let names = self.queue.len() + self.kind.len() + self.request_id.len() + self.group.len();
        FIXED + names + terms + labels.sum::<usize>()
    }
}

/// A task to be stored.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// What it is.
    pub spec: Spec,
    /// What its handler is given.
    pub payload: Arc<[u8]>,
    /// Not before this long from now.
    pub delay: Duration,
    /// Tasks of the same call, earlier ones, that must complete before.
    pub after_index: Vec<u32>,
}

/// The receipt of an enqueued task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Id of the task.
    pub id: Uuid,
    /// True when the idempotency key or the unique key was known.
    pub duplicate: bool,
}

/// A task as it is at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Time-ordered id.
    pub id: Uuid,
    /// What its producer said.
    pub spec: Arc<Spec>,
    /// Where it is and what became of it.
    pub status: Status,
    /// What its handler is given; absent where the verb leaves it out.
    pub payload: Option<Arc<[u8]>>,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// What it was completed with.
    pub result: Option<Arc<[u8]>>,
    /// What its last attempt left for the next; absent where the verb leaves it out.
    pub checkpoint: Option<Arc<[u8]>>,
}

/// The changing part of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub state: State,
    /// Attempts begun, expired ones included, released ones not.
    pub attempts: u32,
    /// How many tasks it waits for.
    pub blocked_by: u32,
    /// When it was stored.
    pub created: Micros,
    /// When its state last changed.
    pub updated: Micros,
    /// Not leased before.
    pub ready_at: Micros,
    /// Who holds it; empty unless leased.
    pub worker: Arc<str>,
    /// When the lease ends; 0 unless leased.
    pub expires: Micros,
    /// When it dies unless it completes before; 0 for never.
    pub deadline: Micros,
    /// What the last failed attempt said.
    pub last_error: Option<Arc<Failure>>,
    /// What its attempts left behind; absent for most tasks.
    pub trail: Option<Arc<Trail>>,
}

impl Status {
    /// About the bytes of memory that its texts take.
    pub(crate) fn size(&self) -> usize {
        let error = self.last_error.as_ref().map_or(0, |error| error.size());
        error + self.trail.as_ref().map_or(0, |trail| trail.size())
    }

    /// Whether the ledger keeps a checkpoint of the task.
    pub fn has_checkpoint(&self) -> bool {
        self.trail.as_ref().is_some_and(|trail| trail.checkpoint > 0)
    }
}

/// Asks for work.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// Namespace of the queues.
    pub namespace: Arc<str>,
    /// In order of preference.
    pub queues: Vec<Arc<str>>,
    /// Worker instance, for people.
    pub worker: Arc<str>,
    /// At most this many.
    pub max: usize,
    /// How long each lease lasts.
    pub duration: Duration,
    /// How long to wait for the first.
    pub wait: Duration,
    /// Number of the stream that asks, which hears of cancellations; 0 for none.
    pub stream: u64,
    /// Who asks, and will hold the leases.
    pub mark: Mark,
}

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The lease lasts until then.
    Until(Micros),
    /// It is no longer the caller's.
    Lost,
    /// It is no longer the caller's, since somebody cancelled the task.
    Cancelled,
}

/// The right to work on a task until it expires.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The task, payload included.
    pub task: Task,
    /// Fencing token.
    pub token: u64,
    /// How long it lasts from the moment it was given.
    pub duration: Duration,
    /// Who it was given to.
    pub mark: Mark,
}

impl Lease {
    /// Its name, as who holds it says it.
    pub fn refer(&self) -> LeaseRef {
        LeaseRef { id: self.task.id, token: self.token, mark: self.mark }
    }
}

/// A lease that ended because its task was cancelled, and the stream that held it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// The lease; token 0 when nobody held the task.
    pub lease: LeaseRef,
    /// Number of the stream; 0 for none.
    pub stream: u64,
}

/// Names a lease, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRef {
    /// Id of the task.
    pub id: Uuid,
    /// Its token.
    pub token: u64,
    /// Who names it: nobody but its holder does so with effect.
    pub mark: Mark,
}

/// What a worker says of an attempt that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The lease.
    pub lease: LeaseRef,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What the next attempt is given; empty means nothing.
    pub checkpoint: Option<Arc<[u8]>>,
}

/// The queue's word that a lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Which attempt the lease is for.
    pub attempt: u32,
    /// No other worker has the task before.
    pub until: Micros,
    /// How long that is from when it was given.
    pub duration: Duration,
}

/// How a lease ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With a result.
    Completed(Arc<[u8]>),
    /// The attempt failed.
    Failed {
        /// What went wrong.
        error: Failure,
        /// Do not try again.
        permanent: bool,
        /// Try again after this long instead of the backoff.
        retry_after: Option<Duration>,
    },
    /// It was never started.
    Released,
    /// It was never started, and is not to be before this long from now.
    Snoozed(Duration),
}

/// Ends one lease.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The lease.
    pub lease: LeaseRef,
    /// How.
    pub outcome: Outcome,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It took effect (now, or when it was first sent).
    Done {
        /// The state after it.
        state: State,
        /// When the next attempt may begin.
        ready_at: Micros,
    },
    /// The lease was no longer the caller's; nothing changed.
    Lost,
}

/// A change of a task's state.
#[derive(Debug, Clone)]
pub struct TaskEvent {
    /// Where to resume after it.
    pub cursor: Cursor,
    /// When it happened.
    pub at: Micros,
    /// The task after it, without payload.
    pub task: Task,
}

/// A place in the event log: two numbers that grow, compared in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Cursor(pub u64, pub u64);

/// Which tasks a page holds.
#[derive(Debug, Clone)]
pub struct TaskFilter {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Only this queue.
    pub queue: Option<Arc<str>>,
    /// Only these states; empty means all.
    pub states: Vec<State>,
    /// Only tasks before this id, newest first.
    pub before: Option<Uuid>,
    /// At most this many.
    pub limit: usize,
    /// What else must fit.
    pub fits: Fits,
}

impl TaskFilter {
    /// Whether a task of its queues is one of those.
    pub fn admits(&self, task: &Task) -> bool {
        let state = self.states.is_empty() || self.states.contains(&task.status.state);
        state && self.fits.spec(&task.spec, task.status.created) && self.fits.status(&task.status)
    }
}

/// What tasks are like; all that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fits {
    /// Kind of work.
    pub kind: Option<Box<str>>,
    /// Whom it is for.
    pub group: Option<Box<str>>,
    /// Labels.
    pub metadata: Vec<(Box<str>, Box<str>)>,
    /// Reason of the last failed attempt.
    pub error_reason: Option<Box<str>>,
    /// Stored at this time or after.
    pub created_from: Option<Micros>,
    /// Stored before this time.
    pub created_before: Option<Micros>,
}

impl Fits {
    /// Whether a task that was stored at `created` fits, as far as what never changes goes.
    pub fn spec(&self, spec: &Spec, created: Micros) -> bool {
        self.kind.as_ref().is_none_or(|kind| **kind == *spec.kind)
            && self.group.as_ref().is_none_or(|group| **group == *spec.group)
            && self.metadata.iter().all(|(key, value)| spec.label(key) == Some(value))
            && self.created_from.is_none_or(|from| created >= from)
            && self.created_before.is_none_or(|before| created < before)
    }

    /// Whether a task fits, as far as what changes goes.
    pub fn status(&self, status: &Status) -> bool {
        let reason = status.last_error.as_ref().map(|error| error.reason.as_str());
        self.error_reason.as_ref().is_none_or(|wanted| reason == Some(wanted))
    }
}

/// A page of tasks, newest first, without payloads and results.
#[derive(Debug, Clone, Default)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Continue before this id; absent at the end.
    pub next: Option<Uuid>,
}

/// What operators say of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueSettings {
    /// What it lets through.
    pub intake: Intake,
    /// Most tasks that have not ended; none means the daemon's own limit.
    pub max_tasks: Option<u64>,
    /// How long ended tasks are kept; none means the daemon's own limit, beyond which nothing is kept.
    pub keep_for: Option<Duration>,
    /// Most bytes of payloads and results of ended tasks; none means no limit.
    pub keep_bytes: Option<u64>,
    /// Most tasks held at once.
    pub max_running: Option<u32>,
    /// Most tasks started in a time.
    pub rate: Option<RateLimit>,
    /// Most tasks of each group held at once.
    pub group_max_running: Option<u32>,
    /// Most tasks of each group started in a time.
    pub group_rate: Option<RateLimit>,
    /// Shares of groups; those that are not named have 1.
    pub group_weights: BTreeMap<Box<str>, u32>,
    /// A higher priority always goes first, and nothing ages.
    pub strict_priority: bool,
}

/// A queue as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// What operators say of it.
    pub settings: QueueSettings,
    /// Its tasks, counted.
    pub stats: QueueStats,
    /// How it performs.
    pub performance: PerformanceView,
}

/// What happened in a queue since the daemon leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerformanceView {
    /// From then on.
    pub since: Micros,
    /// What happened how often.
    pub counts: Counts,
    /// From being ready to being leased.
    pub wait: Option<Percentiles>,
    /// From being leased to completion.
    pub run: Option<Percentiles>,
}

/// How often things happened in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tasks stored.
    pub enqueued: u64,
    /// Attempts begun.
    pub started: u64,
    /// Tasks that completed.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Leases that expired.
    pub expired: u64,
    /// Tasks that died.
    pub dead: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Half take no longer.
    pub p50: Duration,
    /// 95 of 100 take no longer.
    pub p95: Duration,
    /// 99 of 100 take no longer.
    pub p99: Duration,
}

/// Counts of a queue's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Name.
    pub queue: Arc<str>,
    /// Tasks that wait for a time.
    pub waiting: u64,
    /// Tasks that may be leased.
    pub ready: u64,
    /// Tasks that are held.
    pub leased: u64,
    /// Kept tasks that completed.
    pub completed: u64,
    /// Kept tasks that died.
    pub dead: u64,
    /// Kept tasks that were cancelled.
    pub cancelled: u64,
    /// What it lets through.
    pub intake: Intake,
    /// When the oldest ready task became ready.
    pub oldest_ready: Option<Micros>,
}

/// What an acknowledged change survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The store's memory only.
    Memory,
    /// Redis's append-only file, synced each second.
    Aof,
    /// Synced to disk before the reply.
    Synced,
    /// Applied by Redis, and by as many of its replicas as the store's URL says.
    Replicated,
}
