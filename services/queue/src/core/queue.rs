//! One queue: how many of its tasks are where, and which of them may start.
//!
//! What the queue may start as a whole (it is paused, at its limit of running tasks, or its bucket is empty) is
//! known without a look at groups or tasks; which group is next, [`Groups`] knows. Everything that changes either
//! says so in [`Signals`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use crate::{
    core::{
        bucket::Bucket,
        entry::Row,
        facts::rate_key,
        groups::{Groups, NAMELESS, Slot},
        listing::Members,
        performance::Performance,
        ready::Order,
        upkeep::EndedTasks,
    },
    record::{QueueSettings, QueueStats},
    task::{Micros, State},
};

/// In place of a group's slot: the bucket of the queue.
const WHOLE: Slot = Slot::MAX;

/// In place of a group's slot: groups that have not seen the newest settings.
const UNCHECKED: Slot = Slot::MAX - 1;

/// Groups that see new settings at once; the others do a step later, or when their turn comes.
const STEP: Slot = 2_048;

/// What queues tell the core.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Queues from which tasks may be taken now.
    pub(super) opened: Vec<u32>,
    /// When which queue and group want to be woken.
    pub(super) alarms: BinaryHeap<Reverse<(Micros, u32, Slot)>>,
    /// What must outlive the daemon.
    pub(super) facts: BTreeMap<String, Option<String>>,
}

/// One queue of one namespace.
#[derive(Debug)]
pub(super) struct Queue {
    namespace: Arc<str>,
    name: Arc<str>,
    index: u32,
    groups: Groups,
    counts: [u64; 7],
    used: bool,
    bucket: Bucket,
    unchecked: Slot,
    /// What operators say of it; [`configured`](Self::configured) must follow a change.
    pub(super) settings: QueueSettings,
    /// How it performs.
    pub(super) performance: Performance,
    /// Its tasks that ended and are kept.
    pub(super) ended: EndedTasks,
    /// All of its tasks, for lists.
    pub(super) members: Members,
}

impl Queue {
    /// An empty one; `index` is its place among all.
    pub(super) fn new(namespace: Arc<str>, name: Arc<str>, index: u32) -> Self {
        Self {
            namespace,
            name,
            index,
            groups: Groups::default(),
            counts: [0; 7],
            used: false,
            bucket: Bucket::default(),
            unchecked: 0,
            settings: QueueSettings::default(),
            performance: Performance::default(),
            ended: EndedTasks::default(),
            members: Members::default(),
        }
    }

    /// The slot of a group; it lasts while the group has tasks.
    pub(super) fn join(&mut self, group: &str) -> Slot {
        let weights = &self.settings.group_weights;
        self.groups.join(group, || weights.get(group).copied().unwrap_or(1))
    }

    /// The queue's own copy of a group's name, so that many tasks share one allocation.
    pub(super) fn group_name(&self, slot: Slot) -> Arc<str> {
        self.groups.name(slot)
    }

    /// Gives a task that became ready its place.
    pub(super) fn push(&mut self, slot: Slot, priority: u8, ready_at: Micros, row: Row) {
        self.groups.push(slot, priority, ready_at, row);
    }

    /// Takes the next task that may start; `step` is the wait that a step of priority is worth.
    pub(super) fn pop(&mut self, step: Duration, now: Micros, signals: &mut Signals) -> Option<Row> {
        let order = if self.settings.strict_priority {
            Order::Strict
        } else {
            Order::Ageing(i64::try_from(step.as_micros()).unwrap_or(i64::MAX))
        };
        while !self.is_shut() {
            let slot = self.groups.first()?;
            if self.may_start(slot, now, signals) {
                let row = self.groups.take(slot, order)?;
                self.charge(slot, now, signals);
                return Some(row);
            }
        }
        None
    }

    /// Whether a group that has a turn may start a task under settings that it may not have seen; else its turn is
    /// taken away.
    fn may_start(&mut self, slot: Slot, now: Micros, signals: &mut Signals) -> bool {
        if self.settings.group_rate.is_none() && self.settings.group_max_running.is_none() {
            return true;
        }
        self.look(slot, now, signals);
        self.review(slot, signals);
        self.groups.at(slot).has_turn()
    }

    /// Takes tokens for a task that starts.
    fn charge(&mut self, slot: Slot, now: Micros, signals: &mut Signals) {
        if let Some(limit) = &self.settings.rate {
            self.bucket.take(limit, now);
            self.bucket.noted = true;
            let key = rate_key(&self.namespace, &self.name, None);
            signals.facts.insert(key, Some(self.bucket.full_at().to_string()));
            self.look_whole(now, signals);
        }
        if let Some(limit) = &self.settings.group_rate {
            let group = self.groups.at(slot);
            group.bucket.take(limit, now);
            group.bucket.noted = true;
            let key = rate_key(&self.namespace, &self.name, Some(&group.name));
            signals.facts.insert(key, Some(group.bucket.full_at().to_string()));
            self.look(slot, now, signals);
            self.review(slot, signals);
        }
    }

    /// Looks into the bucket of the queue.
    fn look_whole(&mut self, now: Micros, signals: &mut Signals) {
        let wake = self.bucket.look(self.settings.rate.as_ref(), now);
        signals.alarms.extend(wake.map(|at| Reverse((at, self.index, WHOLE))));
        if self.settings.rate.is_none() && std::mem::take(&mut self.bucket.noted) {
            signals.facts.insert(rate_key(&self.namespace, &self.name, None), None);
        }
    }

    /// Looks into the bucket of a group.
    fn look(&mut self, slot: Slot, now: Micros, signals: &mut Signals) {
        let limit = self.settings.group_rate.as_ref();
        let group = self.groups.at(slot);
        let wake = group.bucket.look(limit, now);
        signals.alarms.extend(wake.map(|at| Reverse((at, self.index, slot))));
        if limit.is_none() && std::mem::take(&mut group.bucket.noted) {
            signals.facts.insert(rate_key(&self.namespace, &self.name, Some(&group.name)), None);
        }
    }

    /// Gives a group its turn, or takes it away.
    fn review(&mut self, slot: Slot, signals: &mut Signals) {
        if self.groups.review(slot, self.settings.group_max_running.map(u64::from)) {
            self.open(signals);
        }
    }

    fn open(&self, signals: &mut Signals) {
        if signals.opened.last() != Some(&self.index) {
            signals.opened.push(self.index);
        }
    }

    /// True when the queue as a whole may start nothing.
    fn is_shut(&self) -> bool {
        let full = |limit: u32| self.count(State::Leased) >= u64::from(limit);
        !self.settings.intake.starts() || self.bucket.is_shut() || self.settings.max_running.is_some_and(full)
    }

    /// True when nothing may be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.is_shut() || self.groups.first().is_none()
    }

    /// How many of its tasks have not ended.
    pub(super) fn live(&self) -> u64 {
        self.count(State::Waiting) + self.count(State::Ready) + self.count(State::Leased)
    }

    /// Namespace and name.
    pub(super) fn name(&self) -> (&Arc<str>, &Arc<str>) {
        (&self.namespace, &self.name)
    }

    /// A task of a group entered `state`.
    pub(super) fn enter(&mut self, state: State, slot: Slot, signals: &mut Signals) {
        self.used = true;
        self.counts[usize::from(state.code())] += 1;
        if state.is_terminal() {
            return;
        }
        let group = self.groups.at(slot);
        group.live += 1;
        group.ready.count += usize::from(state == State::Ready);
        group.running += u64::from(state == State::Leased);
        if (state == State::Ready && group.ready.count == 1) || self.bears_on_group(state) {
            self.review(slot, signals);
        }
    }

    /// A task of a group left `state`; [`retire`](Self::retire) must follow when it left for good.
    pub(super) fn leave(&mut self, state: State, slot: Slot, signals: &mut Signals) {
        let count = &mut self.counts[usize::from(state.code())];
        *count = count.saturating_sub(1);
        if state.is_terminal() {
            return;
        }
        let group = self.groups.at(slot);
        group.live -= 1;
        group.ready.count -= usize::from(state == State::Ready);
        group.running -= u64::from(state == State::Leased);
        if (state == State::Ready && group.ready.count == 0) || self.bears_on_group(state) {
            self.review(slot, signals);
        }
        if state == State::Leased && self.settings.max_running.is_some() {
            self.open(signals);
        }
    }

    /// Whether one more or one less in `state` may give a group its turn or take it: a review costs, and the first
    /// and the last ready task apart it is for nothing unless groups have limits.
    fn bears_on_group(&self, state: State) -> bool {
        state == State::Leased && self.settings.group_max_running.is_some()
    }

    /// Drops a group that has no task left, once its bucket is full.
    pub(super) fn retire(&mut self, slot: Slot, signals: &mut Signals) {
        if slot == NAMELESS {
            return;
        }
        let Some(group) = self.groups.get(slot).filter(|group| group.live == 0) else { return };
        if !group.bucket.is_full() {
            signals.alarms.extend(group.bucket.wake_full().map(|at| Reverse((at, self.index, slot))));
            return;
        }
        if group.bucket.noted {
            signals.facts.insert(rate_key(&self.namespace, &self.name, Some(&group.name)), None);
        }
        self.groups.remove(slot);
    }

    /// Takes the place of a task away that is ready no more.
    pub(super) fn pull(&mut self, slot: Slot, priority: u8, ready_at: Micros, row: Row) {
        self.groups.pull(slot, priority, ready_at, row);
    }

    /// An alarm that it set has gone off.
    pub(super) fn woken(&mut self, slot: Slot, at: Micros, now: Micros, signals: &mut Signals) {
        match slot {
            UNCHECKED => self.check(now, signals),
            WHOLE => {
                if self.bucket.woken(at) {
                    self.look_whole(now, signals);
                    self.open(signals);
                }
            }
            _ => {
                if self.groups.get(slot).is_some_and(|group| group.bucket.woken(at)) {
                    self.see(slot, now, signals);
                }
            }
        }
    }

    /// Takes new settings to heart.
    pub(super) fn configured(&mut self, now: Micros, signals: &mut Signals) {
        self.look_whole(now, signals);
        self.unchecked = 0;
        self.check(now, signals);
        self.open(signals);
    }

    /// Shows the settings to the next groups that have not seen them.
    fn check(&mut self, now: Micros, signals: &mut Signals) {
        let end = self.unchecked.saturating_add(STEP).min(self.groups.end());
        for slot in self.unchecked..end {
            self.see(slot, now, signals);
        }
        self.unchecked = end;
        if end < self.groups.end() {
            signals.alarms.push(Reverse((now + 1, self.index, UNCHECKED)));
        }
    }

    fn see(&mut self, slot: Slot, now: Micros, signals: &mut Signals) {
        let weights = &self.settings.group_weights;
        let Some(group) = self.groups.get(slot) else { return };
        group.weight = weights.get(&*group.name).copied().unwrap_or(1).max(1);
        self.look(slot, now, signals);
        self.review(slot, signals);
        self.retire(slot, signals);
    }

    /// Takes a bucket as the ledger knew it: of a group, or of the queue.
    pub(super) fn restore_bucket(&mut self, group: Option<&str>, full_at: i128) {
        let bucket = Bucket::restored(full_at);
        match group {
            Some(name) => {
                let slot = self.join(name);
                self.groups.at(slot).bucket = bucket;
            }
            None => self.bucket = bucket,
        }
    }

    /// How many of its tasks are in a state; those that ended are the ones that are kept.
    pub(super) fn count(&self, state: State) -> u64 {
        self.counts[usize::from(state.code())]
    }

    /// True when it holds or held a task, or somebody has set something.
    pub(super) fn is_known(&self) -> bool {
        self.used || self.settings != QueueSettings::default()
    }

    /// True when nothing is lost with it: it has no task, neither live nor ended, no settings and no bucket to refill.
    pub(super) fn is_idle(&self) -> bool {
        let plain = self.settings == QueueSettings::default() && !self.bucket.noted;
        plain && self.groups.is_empty() && self.is_empty_of_tasks()
    }

    /// True when it has no task, neither live nor ended and kept.
    pub(super) fn is_empty_of_tasks(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// True when it holds or held a task.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Its tasks, counted.
    pub(super) fn stats(&self) -> QueueStats {
        QueueStats {
            queue: Arc::clone(&self.name),
            waiting: self.count(State::Waiting),
            ready: self.count(State::Ready),
            leased: self.count(State::Leased),
            completed: self.count(State::Completed),
            dead: self.count(State::Dead),
            cancelled: self.count(State::Cancelled),
            intake: self.settings.intake,
            oldest_ready: self.groups.oldest(),
        }
    }

    /// How many groups with a name memory holds.
    #[cfg(test)]
    pub(super) fn named_groups(&self) -> usize {
        self.groups.named()
    }
}
