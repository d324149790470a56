//! A history told line by line; every line is one call that ended before the next began, one millisecond each.

use nova_chaos::{
    checker::{Rules, check},
    history::{
        Answer, Call, Grant, History, Hold, Job, Level, Limits, Mark, Moment, Operation, Outcome, Rest,
        Snapshot, State,
    },
};

/// Length of every lease, microseconds.
pub(crate) const LEASE: i64 = 10_000_000;

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) history: History,
    pub(crate) rest: Rest,
    pub(crate) rules: Rules,
    order: u64,
    now: i64,
}

impl Story {
    pub(crate) fn moment(&mut self) -> Moment {
        self.order += 1;
        Moment { order: self.order, at: self.now }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, micros: i64) -> &mut Self {
        self.now += micros;
        self
    }

    pub(crate) fn tell(&mut self, call: Call, answer: Answer) -> &mut Self {
        let begin = self.moment();
        self.now += 1_000;
        let end = Some(self.moment());
        self.history.operations.push(Operation { client: 1, begin, end, call, answer });
        self
    }

    pub(crate) fn stored(&mut self, id: &str, job: Job) -> &mut Self {
        self.stored_at(id, job, Level::Synced)
    }

    pub(crate) fn stored_at(&mut self, id: &str, job: Job, level: Level) -> &mut Self {
        self.tell(Call::Enqueue(vec![job]), Answer::Stored(vec![(id.into(), false)], level))
    }

    pub(crate) fn given(&mut self, id: &str, token: u64, attempt: u32) -> &mut Self {
        let grant = Grant { lease: hold(id, token), attempt, max_attempts: 3, checkpoint: None };
        self.tell(Call::Lease { queue: "q".into(), duration: LEASE }, Answer::Given(vec![grant]))
    }

    pub(crate) fn settles(&mut self, id: &str, token: u64, outcome: Outcome, answer: Answer) -> &mut Self {
        self.tell(Call::Settle(hold(id, token), outcome), answer)
    }

    pub(crate) fn completes(&mut self, id: &str, token: u64) -> &mut Self {
        self.settles(id, token, completed(token), Answer::Settled(State::Completed))
    }

    pub(crate) fn reads(&mut self, task: Snapshot) -> &mut Self {
        self.tell(Call::Read(task.id.clone()), Answer::Seen(Some(task)))
    }

    pub(crate) fn lossy(&mut self, from: u64) -> &mut Self {
        let (at, until) = (self.moment().order, self.moment().order);
        self.history.marks.push(Mark::Lossy { from, at, until });
        self
    }

    pub(crate) fn limits(&mut self, limits: Limits) -> &mut Self {
        self.tell(Call::Limit("q".into(), limits), Answer::Done)
    }

    pub(crate) fn left(&mut self, task: Snapshot) -> &mut Self {
        self.rest.tasks.push(task);
        self
    }

    /// Invariants that are broken, each once.
    pub(crate) fn broken(&self) -> Vec<u8> {
        let mut broken: Vec<u8> = check(&self.history, &self.rest, &self.rules)
            .iter()
            .map(|violation| violation.invariant)
            .collect();
        broken.dedup();
        broken
    }
}

pub(crate) fn hold(id: &str, token: u64) -> Hold {
    Hold { id: id.into(), token }
}

/// The result of whoever holds `token`.
pub(crate) fn completed(token: u64) -> Outcome {
    Outcome::Completed(format!("by {token}"))
}

pub(crate) fn job(key: &str) -> Job {
    Job { queue: "q".into(), key: key.into(), max_attempts: 3, priority: 9, ..Job::default() }
}

pub(crate) fn task(id: &str, state: State) -> Snapshot {
    Snapshot {
        id: id.into(),
        key: String::new(),
        state,
        attempts: 1,
        max_attempts: 3,
        result: None,
        reason: String::new(),
        firing: None,
    }
}

/// A task that whoever held `token` completed.
pub(crate) fn done(id: &str, token: u64) -> Snapshot {
    Snapshot { result: Some(format!("by {token}")), ..task(id, State::Completed) }
}
