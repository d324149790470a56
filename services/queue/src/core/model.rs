//! The core against a model: any sequence of verbs, on a held clock, with restarts in between.
//!
//! The model knows only what callers were told. After each step the invariants of the queue must hold; a
//! restart builds a core from what the batches wrote, as a store does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Core, Keep, Limits, Listed,
    batch::Batch,
    entry::{Row, row_of},
    model_flow::{Bound, ToldOfFlows, any_bound},
    model_proof::ToldOfProofs,
    restore::{Counters, KeptEnding, KeptTask},
};
use crate::{
    codec::{Stored, Unpacker, pack_changes, pack_spec, unpack_change, unpack_spec},
    mark::Mark,
    record::{
        Beat, Fits, Lease, LeaseRef, LeaseRequest, NewTask, Outcome, QueueSettings, Report, Settled,
        Settlement, Spec, TaskFilter,
    },
    task::{Failure, Micros, Retry, State},
    trail::Progress,
};

const SECOND: Micros = 1_000_000;

pub(super) const GROUPS: [&str; 3] = ["", "a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Enqueue { key: Option<u8>, delayed: bool, group: u8 },
    Lease { max: usize },
    Settle { which: usize, how: u8 },
    Heartbeat { which: usize },
    Prove { which: usize },
    Bind(Bound),
    Control { which: usize, how: u8 },
    Limit { queue: u32, group: u32 },
    Report { which: usize, checkpoint: u8 },
    Pass { micros: Micros },
    Commit,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (proptest::option::of(0u8..4), any::<bool>(), 0u8..3)
            .prop_map(|(key, delayed, group)| Step::Enqueue { key, delayed, group }),
        4 => (1usize..4).prop_map(|max| Step::Lease { max }),
        5 => (any::<usize>(), 0u8..5).prop_map(|(which, how)| Step::Settle { which, how }),
        1 => any::<usize>().prop_map(|which| Step::Heartbeat { which }),
        2 => any::<usize>().prop_map(|which| Step::Prove { which }),
        4 => any_bound().prop_map(Step::Bind),
        2 => (any::<usize>(), 0u8..3).prop_map(|(which, how)| Step::Control { which, how }),
        1 => (0u32..4, 0u32..3).prop_map(|(queue, group)| Step::Limit { queue, group }),
        2 => (any::<usize>(), 0u8..3).prop_map(|(which, checkpoint)| Step::Report { which, checkpoint }),
        3 => (0..40 * SECOND).prop_map(|micros| Step::Pass { micros }),
        2 => Just(Step::Commit),
        1 => Just(Step::Restart),
    ]
}

/// What a store would hold.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) tasks: BTreeMap<Row, (Uuid, Vec<u8>, Micros, Micros)>,
    journal: BTreeMap<u64, Vec<u8>>,
    pub(super) finished: BTreeMap<Row, KeptEnding>,
    /// Attempts of ended tasks, and why the last of them failed.
    pub(super) attempts: BTreeMap<Row, (u32, Option<Arc<Failure>>)>,
    checkpoints: BTreeMap<Row, usize>,
    facts: BTreeMap<String, String>,
    counters: Counters,
}

impl Disk {
    pub(super) fn write(&mut self, batch: &Batch) {
        for task in &batch.inserts {
            self.tasks.insert(task.row, (task.id, pack_spec(&task.spec), task.created, task.ready_at));
            self.counters.last_row = self.counters.last_row.max(task.row);
        }
        if !batch.changes.is_empty() {
            self.journal.insert(batch.first, pack_changes(&batch.changes));
            self.counters.last_entry = batch.first + batch.changes.len() as u64 - 1;
        }
        for row in &batch.revived {
            self.finished.remove(row);
        }
        for ended in &batch.finished {
            self.attempts.insert(ended.row, (ended.attempts, ended.error.clone()));
            let (state, token, journal, at) = (ended.state, ended.token, ended.journal, ended.at);
            let ending = KeptEnding { state, token, journal, at, result_len: 1 };
            self.finished.insert(ended.row, ending);
        }
        for (key, value) in &batch.facts {
            match value {
                Some(value) => drop(self.facts.insert(key.clone(), value.clone())),
                None => drop(self.facts.remove(key)),
            }
        }
        for (row, checkpoint) in &batch.checkpoints {
            match checkpoint {
                Some(bytes) => self.checkpoints.insert(*row, bytes.len()),
                None => self.checkpoints.remove(row),
            };
        }
        if let Some(first) = batch.dropped {
            self.journal.retain(|row, _| *row > first);
        }
        for row in &batch.forgotten {
            self.tasks.remove(row);
            self.finished.remove(row);
        }
        self.counters.last_token = self.counters.last_token.max(batch.last_token);
        self.counters.floor = batch.floor;
    }

    pub(super) fn read(&self, now: Micros) -> Core {
        let mut core = Core::new(limits(), 1);
        for (key, value) in &self.facts {
            core.restore_fact(key, value).unwrap();
        }
        for (row, (id, spec, created, ready_at)) in &self.tasks {
            let spec = unpack_spec(spec).unwrap();
            let (row, id, created, ready_at) = (*row, *id, *created, *ready_at);
            let task = KeptTask { row, id, spec, payload_len: 1, created, ready_at };
            core.restore_task(task, self.finished.get(&row).copied()).unwrap();
        }
        for (first, packed) in &self.journal {
            core.restore_journal(*first, changes(packed));
        }
        core.restored(self.counters, now);
        core
    }
}

fn changes(packed: &[u8]) -> Vec<Stored> {
    let mut from = Unpacker(packed);
    let mut changes = Vec::new();
    while !from.is_empty() {
        changes.push(unpack_change(&mut from).unwrap());
    }
    changes
}

impl Disk {
    /// How many facts stand under a kind.
    pub(super) fn facts(&self, kind: &str) -> usize {
        self.facts.keys().filter(|key| key.starts_with(kind)).count()
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        tasks: 1_000,
        bytes: usize::MAX,
        queues: 10,
        schedules: 10,
        payload_cache: 0,
        ageing_step: Duration::from_secs(1),
        finished: Keep { most: 1_000, span: Duration::from_secs(86_400) },
        dead: Keep { most: 1_000, span: Duration::from_secs(86_400) },
        events: 1,
    }
}

pub(super) fn task(key: Option<u8>, delayed: bool, group: &str) -> NewTask {
    let spec = Spec {
        namespace: "default".into(),
        queue: "q".into(),
        kind: "k".into(),
        metadata: Vec::new(),
        request_id: key.map(|key| key.to_string()).unwrap_or_default().into(),
        body_hash: 1,
        priority: 0,
        retry: Retry { max_attempts: 2, ..Retry::default() },
        attempt_timeout: None,
        traceparent: "".into(),
        group: group.into(),
        terms: None,
    };
    NewTask {
        spec,
        payload: Arc::from(&b"p"[..]),
        delay: Duration::from_secs(u64::from(delayed) * 20),
        after_index: Vec::new(),
    }
}

/// What callers were told, once it was committed.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) stored: BTreeMap<Uuid, State>,
    groups: BTreeMap<Uuid, Arc<str>>,
    limits: (u32, u32),
    keys: BTreeMap<u8, Uuid>,
    leases: Vec<Lease>,
    last_token: u64,
    pub(super) flow: ToldOfFlows,
    pub(super) proofs: ToldOfProofs,
}

pub(super) struct Run {
    pub(super) core: Core,
    pub(super) disk: Disk,
    pub(super) told: Told,
    pub(super) now: Micros,
}

impl Run {
    fn new() -> Self {
        let now = 1_700_000_000 * SECOND;
        Self { core: Core::new(limits(), 1), disk: Disk::default(), told: Told::default(), now }
    }

    fn step(&mut self, step: &Step) {
        self.core.tick(self.now);
        self.commit();
        self.check_deadlines();
        match step {
            Step::Enqueue { key, delayed, group } => self.enqueue(*key, *delayed, *group),
            Step::Lease { max } => self.lease(*max),
            Step::Settle { which, how } => self.settle(*which, *how),
            Step::Heartbeat { which } => self.heartbeat(*which),
            Step::Prove { which } => self.prove(*which),
            Step::Bind(bound) => self.bind(bound),
            Step::Control { which, how } => self.control(*which, *how),
            Step::Limit { queue, group } => self.limit(*queue, *group),
            Step::Report { which, checkpoint } => self.report(*which, *checkpoint),
            Step::Pass { micros } => self.now += micros,
            Step::Commit => {}
            Step::Restart => {
                self.commit();
                self.core = self.disk.read(self.now);
            }
        }
        self.commit();
        self.check();
        self.check_flows();
    }

    fn commit(&mut self) {
        let batch = self.core.take_batch(self.now);
        for change in &batch.changes {
            if let Some(before) = self.told.stored.get(&change.id) {
                let revived = *before == State::Dead && batch.revived.contains(&change.row);
                assert!(!before.is_terminal() || revived, "an ended task changed");
            }
            self.told.stored.insert(change.id, change.status.state);
            self.told.groups.insert(change.id, Arc::clone(&change.spec.group));
            self.told.flow.saw(change.id, change.status.state);
        }
        self.told.stored.retain(|id, _| !batch.forgotten.contains(&row_of(*id)));
        self.disk.write(&batch);
    }

    fn enqueue(&mut self, key: Option<u8>, delayed: bool, group: u8) {
        // One body for each key, or it would be a mismatch.
        let group = if key.is_some() { "" } else { GROUPS[usize::from(group)] };
        let new = task(key, delayed && key.is_none(), group);
        let receipt = self.core.enqueue(vec![new], self.now).unwrap()[0];
        if let Some(key) = key {
            let known = *self.told.keys.entry(key).or_insert(receipt.id);
            let going = self.core.batch.forgotten.contains(&row_of(known));
            if (going || !self.told.stored.contains_key(&known)) && !receipt.duplicate {
                // A key is forgotten with its task.
                self.told.keys.insert(key, receipt.id);
                return;
            }
            assert_eq!(known, receipt.id, "a key named two tasks");
        }
    }

    fn lease(&mut self, max: usize) {
        let request = LeaseRequest {
            namespace: "default".into(),
            queues: vec!["q".into()],
            worker: "w".into(),
            max,
            duration: Duration::from_secs(10),
            wait: Duration::ZERO,
            stream: 0,
            mark: Mark::of("w"),
        };
        let leases = self.core.lease(&request, self.now);
        self.check_limits(&leases);
        for lease in leases {
            self.told.flow.started.push(lease.task.clone());
            self.told.proofs.given(&lease, self.now);
            assert!(lease.token > self.told.last_token, "a token did not grow");
            assert!(lease.task.status.attempts <= 2, "more attempts than may be");
            assert!(lease.task.status.ready_at <= self.now, "a task started before its time");
            self.told.last_token = lease.token;
            self.told.leases.push(lease);
        }
    }

    /// What started is within its limits, which may be lower than what ran before.
    fn check_limits(&self, started: &[Lease]) {
        let (queue, group) = self.told.limits;
        if queue > 0 && !started.is_empty() {
            assert!(self.running(None) + started.len() <= queue as usize, "more than may run");
        }
        for name in GROUPS.iter().filter(|_| group > 0) {
            let new = started.iter().filter(|lease| *lease.task.spec.group == **name).count();
            assert!(new == 0 || self.running(Some(name)) + new <= group as usize, "more than may run");
        }
    }

    /// How many tasks of a group were held when the last commit stood.
    fn running(&self, group: Option<&str>) -> usize {
        self.count(State::Leased, group)
    }

    fn count(&self, state: State, group: Option<&str>) -> usize {
        let of = |id| group.is_none_or(|group| *self.told.groups[id] == *group);
        self.told.stored.iter().filter(|(id, other)| **other == state && of(id)).count()
    }

    fn limit(&mut self, queue: u32, group: u32) {
        self.told.limits = (queue, group);
        let some = |limit: u32| (limit > 0).then_some(limit);
        let change = |settings: &mut QueueSettings| {
            (settings.max_running, settings.group_max_running) = (some(queue), some(group));
        };
        self.core.configure(&"default".into(), &"q".into(), change, self.now).unwrap();
    }

    /// A queue is open exactly when a task may start, and memory holds the groups of live tasks alone.
    fn check_groups(&mut self) {
        let (queue, group) = self.told.limits;
        let below = |running: usize, limit: u32| limit == 0 || running < limit as usize;
        let may_start =
            |name: &&str| self.count(State::Ready, Some(name)) > 0 && below(self.running(Some(name)), group);
        let open = below(self.running(None), queue) && GROUPS.iter().any(may_start);
        let live = |name: &str| {
            let states = [State::Waiting, State::Ready, State::Leased];
            states.into_iter().any(|state| self.count(state, Some(name)) > 0)
        };
        let named = GROUPS.iter().filter(|name| !name.is_empty() && live(name)).count();
        let index = self.core.intern(&"default".into(), &"q".into()).unwrap();
        assert_eq!(!self.core.is_empty(index), open, "a slot leaked, or a limit did not hold");
        assert_eq!(self.core.queues.at(index).named_groups(), named);
    }

    /// The oldest ready task is one that is ready.
    fn check_oldest(&self) {
        let ready = self.told.stored.iter().filter(|(_, state)| **state == State::Ready);
        let tasks = ready.map(|(id, _)| self.core.task("default", *id).unwrap());
        let oldest = tasks.map(|task| task.status.ready_at).min();
        let told = self.core.queue("default", "q").and_then(|view| view.stats.oldest_ready);
        assert_eq!(told, oldest);
    }

    /// The lease that a number picks, and whether it is the newest of its task.
    pub(super) fn pick(&self, which: usize) -> Option<(LeaseRef, bool)> {
        let lease = self.told.leases.get(which.checked_rem(self.told.leases.len())?)?;
        let newest = self.told.leases.iter().rfind(|other| other.task.id == lease.task.id)?;
        Some((lease.refer(), newest.token == lease.token))
    }

    fn settle(&mut self, which: usize, how: u8) {
        let Some((lease, newest)) = self.pick(which) else { return };
        let outcome = match how {
            0 => Outcome::Completed(Arc::from(&b"r"[..])),
            1 => Outcome::Failed { error: Failure::expired(), permanent: false, retry_after: None },
            2 => Outcome::Released,
            3 => Outcome::Snoozed(Duration::from_secs(5)),
            _ => Outcome::Failed { error: Failure::expired(), permanent: true, retry_after: None },
        };
        let before = self.core.task("default", lease.id);
        let others = LeaseRef { mark: Mark::of("v"), ..lease };
        self.core.settle("default", &Settlement { lease: others, outcome: outcome.clone() }, self.now);
        assert_eq!(self.core.task("default", lease.id), before, "somebody else settled");
        let settled = self.core.settle("default", &Settlement { lease, outcome }, self.now);
        if newest && settled != Settled::Lost {
            self.told.proofs.settled(lease.id);
        }
        if !newest || before.is_none() {
            assert_eq!(self.core.task("default", lease.id), before, "a stale token had an effect");
        }
    }

    fn heartbeat(&mut self, which: usize) {
        let Some((lease, newest)) = self.pick(which) else { return };
        let ends = self.core.heartbeat("default", &[lease], None, self.now);
        assert!(newest || ends[0] == Beat::Lost, "a stale token was extended");
    }

    fn report(&mut self, which: usize, checkpoint: u8) {
        let Some((lease, newest)) = self.pick(which) else { return };
        let before = self.core.task("default", lease.id);
        let checkpoint = Some(vec![7; usize::from(checkpoint)].into());
        let report = Report { lease, progress: Some(Progress::new(0.5, "half")), checkpoint };
        let beat = self.core.report("default", &report, Some(Duration::from_secs(10)), self.now);
        if matches!(beat, Beat::Until(_)) {
            assert!(newest, "a stale token reported");
        } else {
            assert_eq!(self.core.task("default", lease.id), before, "a report that was lost had an effect");
        }
    }

    /// What attempts leave behind is where the task says, and nowhere else.
    fn check_trails(&self) {
        let mut left = BTreeMap::new();
        for id in self.told.stored.keys() {
            let Some(task) = self.core.task("default", *id) else { continue };
            let trail = task.status.trail.unwrap_or_default();
            assert!(trail.history.len() <= 16, "a history grows");
            if trail.checkpoint > 0 {
                left.insert(row_of(*id), trail.checkpoint as usize);
            }
        }
        assert_eq!(left, self.disk.checkpoints, "a checkpoint was lost or left over");
    }

    /// A list has every task that is there, newest first, and those in one state when one is asked for.
    fn check_lists(&self) {
        let (namespace, queue) = ("default".into(), None);
        let mut filter = TaskFilter {
            namespace,
            queue,
            states: vec![],
            before: None,
            limit: 1_000,
            fits: Fits::default(),
        };
        let stored = |state: Option<State>| {
            let those =
                self.told.stored.iter().filter(|(_, other)| state.is_none_or(|state| state == **other));
            let mut ids: Vec<Uuid> = those.map(|(id, _)| *id).collect();
            ids.sort_unstable_by_key(|id| std::cmp::Reverse(row_of(*id)));
            ids
        };
        let states = [State::Ready, State::Completed, State::Dead].map(Some);
        for state in states.into_iter().chain([None]) {
            filter.states = state.into_iter().collect();
            let listed = self.core.list(&filter, Row::MAX).tasks;
            assert_eq!(listed.iter().map(Listed::id).collect::<Vec<_>>(), stored(state), "of {state:?}");
        }
    }

    fn check(&mut self) {
        self.check_groups();
        self.check_lists();
        self.check_oldest();
        self.check_trails();
        let leased = self.told.stored.values().filter(|state| **state == State::Leased).count();
        let held = self.core.held_by("default", &["w".into()])[0].leases;
        assert_eq!(held, u32::try_from(leased).unwrap());
        let counted = &self.core.stats("default", "", 10);
        let count = |state: State| self.told.stored.values().filter(|other| **other == state).count() as u64;
        for row in counted {
            assert_eq!(row.waiting, count(State::Waiting));
            assert_eq!(row.ready, count(State::Ready));
            assert_eq!(row.leased, count(State::Leased));
            assert_eq!(row.completed, count(State::Completed));
            assert_eq!(row.dead, count(State::Dead));
            assert_eq!(row.cancelled, count(State::Cancelled));
        }
        for (id, state) in &self.told.stored {
            let live = self.core.task("default", *id).map(|task| task.status.state);
            assert_eq!(live.is_none(), state.is_terminal(), "task {id} was lost or came back");
            assert!(live.is_none_or(|live| live == *state));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_verbs_and_restarts_breaks_an_invariant(
        steps in proptest::collection::vec(any_step(), 1..120),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
    }
}
