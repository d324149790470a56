//! What clients asked, and what they were told.
//!
//! Times are microseconds of the queue's clock as a bystander reads it; orders are one sequence over all clients, so
//! that of two operations it is known whether one ended before the other began.

/// How long reads may be stale after a failover, microseconds: a second, and the way of the answers.
const STALE_FOR: i64 = 1_200_000;

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Place among all moments.
    pub order: u64,
    /// Time, microseconds.
    pub at: i64,
}

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The store's memory only.
    Memory,
    /// Redis's append-only file.
    Aof,
    /// Synced to disk before the reply.
    Synced,
    /// Applied by replicas, too, before the reply.
    Replicated,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// On a time.
    Waiting,
    /// May be leased.
    Ready,
    /// Held by a worker.
    Leased,
    /// Ended with a result.
    Completed,
    /// Ended without one.
    Dead,
    /// Ended on request.
    Cancelled,
}

impl State {
    /// True when nothing can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Dead | Self::Cancelled)
    }
}

/// A task as its producer described it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Job {
    /// Queue.
    pub queue: String,
    /// Idempotency key; empty for none.
    pub key: String,
    /// Not before this long from now, microseconds.
    pub delay: i64,
    /// Attempts in all.
    pub max_attempts: u32,
    /// 0 (lowest) to 9.
    pub priority: u8,
    /// Group that carries a limit and a weight; empty for none.
    pub group: String,
    /// Ids of the tasks that it follows.
    pub parents: Vec<String>,
    /// It follows them also when they fail.
    pub after_failure: bool,
    /// While it lives, no other with this key is stored; empty for none.
    pub unique: String,
    /// It dies unless it completes within this time, microseconds.
    pub deadline: Option<i64>,
}

/// What a queue lets run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Most tasks held at once.
    pub running: Option<u32>,
    /// Most tasks of each group held at once.
    pub group_running: Option<u32>,
    /// Most tasks started: how many in how many microseconds; as many may start at once.
    pub rate: Option<(u32, i64)>,
}

/// Names a lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Id of the task.
    pub id: String,
    /// Token of the lease.
    pub token: u64,
}

/// How a lease ends. Each result is said once in a history, so that its settlement is known by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Completed(String),
    /// The attempt failed.
    Failed {
        /// Do not try again.
        permanent: bool,
        /// Not again before this long from now, microseconds.
        retry_after: Option<i64>,
    },
    /// It was never started.
    Released,
    /// It was never started, and is not to be before this long from now, microseconds.
    Snoozed(i64),
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Store tasks.
    Enqueue(Vec<Job>),
    /// Take tasks of a queue for this long, microseconds.
    Lease {
        /// Queue.
        queue: String,
        /// Length of each lease.
        duration: i64,
    },
    /// Extend leases to this long from now, microseconds.
    Heartbeat(Vec<Hold>, i64),
    /// End a lease.
    Settle(Hold, Outcome),
    /// Leave this for the next attempt, and extend the lease to this long from now, microseconds.
    Report(Hold, String, i64),
    /// Ask for the word that nobody else is given the task of a lease.
    Prove(Hold),
    /// Read a task.
    Read(String),
    /// End a task.
    Cancel(String),
    /// Forget a task that nobody holds.
    Purge(String),
    /// Limit what a queue lets run.
    Limit(String, Limits),
    /// Make a task at each tick of a schedule.
    Schedule(String),
    /// Let nothing of a queue start.
    Pause(String),
    /// Let it start again.
    Resume(String),
}

/// A lease that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub lease: Hold,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Attempts allowed.
    pub max_attempts: u32,
    /// What the attempt before left.
    pub checkpoint: Option<String>,
}

/// A task as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Id.
    pub id: String,
    /// Idempotency key.
    pub key: String,
    /// Where it is.
    pub state: State,
    /// Attempts begun.
    pub attempts: u32,
    /// Attempts allowed.
    pub max_attempts: u32,
    /// What it completed with.
    pub result: Option<String>,
    /// Why its last attempt, or all of it, failed; empty when nothing did.
    pub reason: String,
    /// Schedule and tick that it stands for.
    pub firing: Option<(String, i64)>,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ids of stored tasks in order, each with whether its key was known.
    Stored(Vec<(String, bool)>, Level),
    /// Leases, maybe none.
    Given(Vec<Grant>),
    /// For each lease whether it is still held.
    Extended(Vec<bool>),
    /// The lease ended, and its task is now in this state.
    Settled(State),
    /// The lease was the caller's no longer, and nothing changed.
    Lost,
    /// For how long nobody else is given the task, microseconds; nothing when the lease is lost.
    Proven(Option<i64>),
    /// Whether the task was there to be ended or forgotten, and was.
    Removed(bool),
    /// The task, or that there is none.
    Seen(Option<Snapshot>),
    /// It is done.
    Done,
    /// Nothing was done.
    Refused,
    /// No answer, or one that leaves open what was done.
    Unknown,
}

/// A call and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who called.
    pub client: u32,
    /// Before the call was sent.
    pub begin: Moment,
    /// After its answer came, or the caller gave up.
    pub end: Option<Moment>,
    /// The call.
    pub call: Call,
    /// The answer.
    pub answer: Answer,
}

impl Operation {
    /// True when this was over before `other` began.
    pub fn precedes(&self, other: &Operation) -> bool {
        self.end.is_some_and(|end| end.order < other.begin.order)
    }

    /// True when it is not known whether it took effect, or will.
    pub fn is_open(&self) -> bool {
        self.answer == Answer::Unknown
    }
}

/// What was done to the queue and matters to what may be expected of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A daemon began to serve, or goes on after it stood still: every lease gets a grace.
    Restarted(Moment),
    /// Another server took over: for a moment reads may come from a daemon that does not know that it leads no more.
    FailedOver(Moment),
    /// The queue's clock was set, from this time on to the moment's.
    ClockSet(Moment, i64),
    /// What was first acknowledged in between, below [`Level::Synced`] and [`Level::Replicated`], may be gone; what was acknowledged last goes first.
    Lossy {
        /// Answers before it stand.
        from: u64,
        /// When it was lost: what was acknowledged before it is of the same past.
        at: u64,
        /// Calls begun after it stand.
        until: u64,
    },
}

/// Everything that was asked and told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// By the order in which they began.
    pub operations: Vec<Operation>,
    /// By the order in which they were made.
    pub marks: Vec<Mark>,
}

impl History {
    /// The latest time that the clock showed between two moments.
    pub fn latest(&self, from: Moment, to: Moment) -> i64 {
        let sets = self.sets(from, to).map(|(before, after)| before.max(after));
        sets.fold(from.at.max(to.at), i64::max)
    }

    /// The earliest time that the clock showed between two moments.
    pub fn earliest(&self, from: Moment, to: Moment) -> i64 {
        let sets = self.sets(from, to).map(|(before, after)| before.min(after));
        sets.fold(from.at.min(to.at), i64::min)
    }

    /// Time that passed between two moments, however the clock was set.
    pub fn elapsed(&self, from: Moment, to: Moment) -> i64 {
        let set: i64 = self.sets(from, to).map(|(before, after)| after - before).sum();
        to.at - from.at - set
    }

    fn sets(&self, from: Moment, to: Moment) -> impl Iterator<Item = (i64, i64)> {
        self.marks.iter().filter_map(move |mark| match mark {
            Mark::ClockSet(at, before) if (from.order..=to.order).contains(&at.order) => {
                Some((*before, at.at))
            }
            _ => None,
        })
    }

    /// True when what an operation was told may have been lost.
    pub fn may_be_lost(&self, operation: &Operation) -> bool {
        let end = operation.end.map_or(u64::MAX, |end| end.order);
        self.lossy().any(|(from, _, until)| end > from && operation.begin.order < until)
    }

    /// True when a read may tell what was, and is no more: as docs/durability.md says, for a second after a failover.
    pub fn may_be_stale(&self, read: &Operation) -> bool {
        self.marks.iter().any(|mark| match mark {
            Mark::FailedOver(at) => at.order < read.begin.order && self.elapsed(*at, read.begin) <= STALE_FOR,
            _ => false,
        })
    }

    /// Every span in which acknowledgements may be lost: its begin, when the loss happened, its end.
    pub fn lossy(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.marks.iter().filter_map(|mark| match mark {
            Mark::Lossy { from, at, until } => Some((*from, *at, *until)),
            _ => None,
        })
    }

    /// When daemons began to serve.
    pub fn restarts(&self) -> impl Iterator<Item = Moment> {
        self.marks.iter().filter_map(|mark| match mark {
            Mark::Restarted(at) => Some(*at),
            _ => None,
        })
    }
}

/// What is in the queue once nobody calls any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rest {
    /// Every task, as lists tell them.
    pub tasks: Vec<Snapshot>,
    /// Tasks counted in each state, as the counts of queues tell them.
    pub counted: Vec<(State, u64)>,
}
