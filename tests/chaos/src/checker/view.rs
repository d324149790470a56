//! A history, sorted by what the checks ask for.

use std::collections::BTreeMap;

use crate::history::{Answer, Call, Grant, History, Hold, Job, Level, Operation, Outcome, Rest, Snapshot};

/// A lease that somebody was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leased<'a> {
    pub(super) operation: &'a Operation,
    pub(super) grant: &'a Grant,
    /// Length of the lease, microseconds.
    pub(super) duration: i64,
}

/// A task that somebody was told is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) operation: &'a Operation,
    pub(super) job: &'a Job,
    pub(super) id: &'a str,
    pub(super) duplicate: bool,
    pub(super) level: Level,
}

/// A settlement and what came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling<'a> {
    pub(super) operation: &'a Operation,
    pub(super) outcome: &'a Outcome,
}

/// A heartbeat: whether the lease was held, when that is known, and for how long it was asked for.
pub(super) type Beat<'a> = (&'a Operation, Option<bool>, i64);

/// Everything, by task.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) history: &'a History,
    pub(super) rest: &'a Rest,
    /// Leases of each task by token.
    pub(super) leases: BTreeMap<&'a str, Vec<Leased<'a>>>,
    /// Settlements of each lease, in the order in which they began.
    pub(super) settled: BTreeMap<&'a Hold, Vec<Settling<'a>>>,
    /// Heartbeats of each lease.
    pub(super) beats: BTreeMap<&'a Hold, Vec<Beat<'a>>>,
    /// Calls to end or forget each task that may have had an effect.
    removed: BTreeMap<&'a str, Vec<&'a Operation>>,
    pub(super) stored: Vec<Stored<'a>>,
    /// Tasks as they were read, at rest not included.
    pub(super) seen: BTreeMap<&'a str, Vec<(&'a Operation, &'a Snapshot)>>,
    /// Tasks at rest.
    pub(super) kept: BTreeMap<&'a str, &'a Snapshot>,
}

impl<'a> View<'a> {
    pub(super) fn new(history: &'a History, rest: &'a Rest) -> Self {
        let mut view = Self {
            history,
            rest,
            leases: BTreeMap::new(),
            settled: BTreeMap::new(),
            beats: BTreeMap::new(),
            removed: BTreeMap::new(),
            stored: Vec::new(),
            seen: BTreeMap::new(),
            kept: rest.tasks.iter().map(|task| (task.id.as_str(), task)).collect(),
        };
        history.operations.iter().for_each(|operation| view.add(operation));
        view.leases.values_mut().for_each(|leases| leases.sort_by_key(|leased| leased.grant.lease.token));
        view
    }

    fn add(&mut self, operation: &'a Operation) {
        match (&operation.call, &operation.answer) {
            (Call::Enqueue(jobs), Answer::Stored(receipts, level)) => {
                let told = jobs.iter().zip(receipts);
                self.stored.extend(told.map(|(job, (id, duplicate))| Stored {
                    operation,
                    job,
                    id,
                    duplicate: *duplicate,
                    level: *level,
                }));
            }
            (Call::Lease { duration, .. }, Answer::Given(grants)) => {
                for grant in grants {
                    let leased = Leased { operation, grant, duration: *duration };
                    self.leases.entry(&grant.lease.id).or_default().push(leased);
                }
            }
            (Call::Heartbeat(leases, duration), answer) => {
                self.add_beats(operation, leases, *duration, answer)
            }
            (Call::Report(lease, _, duration), answer) => {
                self.add_beats(operation, std::slice::from_ref(lease), *duration, answer);
            }
            (Call::Cancel(id) | Call::Purge(id), Answer::Removed(true) | Answer::Unknown) => {
                self.removed.entry(id).or_default().push(operation);
            }
            (Call::Settle(lease, outcome), _) => {
                self.settled.entry(lease).or_default().push(Settling { operation, outcome });
            }
            (Call::Read(_), Answer::Seen(Some(task))) => {
                self.seen.entry(&task.id).or_default().push((operation, task));
            }
            _ => {}
        }
    }

    fn add_beats(&mut self, operation: &'a Operation, leases: &'a [Hold], duration: i64, answer: &'a Answer) {
        for (at, lease) in leases.iter().enumerate() {
            let held = match answer {
                Answer::Extended(held) => held.get(at).copied(),
                Answer::Refused => Some(false),
                _ => None,
            };
            self.beats.entry(lease).or_default().push((operation, held, duration));
        }
    }

    /// Settlements of a lease.
    pub(super) fn settlements(&self, lease: &Hold) -> &[Settling<'a>] {
        self.settled.get(lease).map_or(&[], Vec::as_slice)
    }

    /// Heartbeats of a lease.
    pub(super) fn heartbeats(&self, lease: &Hold) -> &[Beat<'a>] {
        self.beats.get(lease).map_or(&[], Vec::as_slice)
    }

    /// Calls to end or forget a task that may have had an effect.
    pub(super) fn removals(&self, id: &str) -> &[&'a Operation] {
        self.removed.get(id).map_or(&[], Vec::as_slice)
    }

    /// True when somebody may have forgotten a task on purpose.
    pub(super) fn may_be_purged(&self, id: &str) -> bool {
        self.removals(id).iter().any(|removal| matches!(removal.call, Call::Purge(_)))
    }

    /// What a task was asked to be; nothing when nobody was told its id.
    pub(super) fn jobs(&self) -> BTreeMap<&'a str, Vec<Stored<'a>>> {
        let mut jobs: BTreeMap<&str, Vec<Stored<'_>>> = BTreeMap::new();
        for stored in &self.stored {
            jobs.entry(stored.id).or_default().push(*stored);
        }
        jobs
    }

    /// True when a settlement may have taken effect: a refusal that was lost does not stand, and the same message may
    /// come again.
    pub(super) fn may_have_effect(&self, settling: &Operation) -> bool {
        match settling.answer {
            Answer::Settled(_) | Answer::Unknown => true,
            Answer::Lost => self.history.may_be_lost(settling),
            _ => false,
        }
    }
}
