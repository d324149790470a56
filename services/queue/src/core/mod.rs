//! The queue in memory: pure, synchronous, without a clock, a disk or a lock.
//!
//! Each verb changes memory at once and notes in a [`Batch`] what a commit must write. An engine calls verbs,
//! takes the batch, commits it, and only then answers. When a commit fails the core is thrown away and built
//! again from the store.
//!
//! Invariants: a task is in one state; `entries` is the truth about it, and it has one place: among the ready ones of
//! its group, in `waiting` by its time, or in `expiring`. Work for each verb grows with what it touches, never with
//! the backlog: nothing is tidied up, and nothing that grows with the backlog is ever moved as a whole.

mod admission;
mod asleep;
pub mod batch;
mod bucket;
mod control;
mod deadline;
mod deletion;
mod ended;
pub mod entry;
mod facts;
mod flow;
mod groups;
mod holders;
mod keys;
mod lease;
mod listing;
mod parted;
mod performance;
mod proof;
pub mod proven;
mod queue;
mod queues;
mod ready;
mod report;
pub mod restore;
mod retention;
mod rows;
pub mod schedules;
mod settle;
mod unique;
mod upkeep;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod expiry_tests;
#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_flow;
#[cfg(test)]
mod model_proof;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod ticks;

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};

use uuid::Uuid;

use self::{
    admission::Admitted,
    asleep::Entries,
    batch::{Batch, Change, Insert},
    deadline::Deadlines,
    entry::{Entry, Row, id_of, row_of},
    flow::Flow,
    holders::Holders,
    keys::{Keys, Known},
    proven::Proven,
    queues::Queues,
    retention::Retention,
    schedules::Schedules,
    unique::Locks,
    upkeep::Upkeep,
};
pub use self::{
    holders::Holding,
    keys::{body_hash, key_of},
    listing::Listed,
    retention::Keep,
    settle::ends_as,
};
use crate::{
    error::Error,
    figures::Figures,
    record::{NewTask, QueueStats, QueueView, Receipt, Task},
    task::{self, Event, Micros, State, after},
};

/// Most places that one [`Core::tick`] looks at, so that a commit stays short.
const TICK: usize = 2_048;

/// Bounds of what memory and the store hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most live tasks.
    pub tasks: usize,
    /// Most bytes of memory that live tasks take, payloads apart.
    pub bytes: usize,
    /// Most queues over all namespaces.
    pub queues: usize,
    /// Most schedules over all namespaces.
    pub schedules: usize,
    /// Most bytes of tasks kept whole in memory, with their payloads, between enqueue and lease.
    pub payload_cache: usize,
    /// Extra wait of a task for each step of priority below the highest.
    pub ageing_step: Duration,
    /// Completed and cancelled tasks that are kept.
    pub finished: Keep,
    /// Dead letters that are kept.
    pub dead: Keep,
    /// Events of the log that a watch may resume from.
    pub events: usize,
}

/// The queue in memory.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    entries: Entries,
    queues: Queues,
    waiting: BTreeSet<(Micros, Row)>,
    expiring: BTreeSet<(Micros, Row)>,
    deadlines: Deadlines,
    keys: Keys,
    locks: Locks,
    flow: Flow,
    retention: Retention,
    schedules: Schedules,
    upkeep: Upkeep,
    holders: Holders,
    proven: Proven,
    batch: Batch,
    touched: Vec<u32>,
    cached: usize,
    last_token: u64,
    next_row: Row,
    next_entry: u64,
    noise: u64,
    /// When memory was built.
    since: Micros,
    /// The time of the last tick.
    now: Micros,
}

impl Core {
    /// An empty queue; `noise` seeds jitter and ids.
    pub fn new(limits: Limits, noise: u64) -> Self {
        Self {
            limits,
            entries: Entries::default(),
            queues: Queues::default(),
            waiting: BTreeSet::new(),
            expiring: BTreeSet::new(),
            deadlines: Deadlines::default(),
            keys: Keys::default(),
            locks: Locks::default(),
            flow: Flow::default(),
            retention: Retention::default(),
            schedules: Schedules::default(),
            upkeep: Upkeep::default(),
            holders: Holders::default(),
            proven: Proven::default(),
            batch: Batch::default(),
            touched: Vec::new(),
            cached: 0,
            last_token: 0,
            next_row: 1,
            next_entry: 1,
            noise,
            since: 0,
            now: 0,
        }
    }

    /// Stores tasks, all or none.
    ///
    /// # Errors
    /// A known key with another body, or a limit reached: then nothing was stored.
    pub fn enqueue(&mut self, tasks: Vec<NewTask>, now: Micros) -> Result<Vec<Receipt>, Error> {
        let admitted = self.admit(&tasks, now)?;
        let mut receipts: Vec<Receipt> = Vec::with_capacity(tasks.len());
        for (mut task, place) in tasks.into_iter().zip(admitted) {
            name_parents(&mut task, &receipts);
            receipts.push(self.enqueue_one(task, place, now));
        }
        Ok(receipts)
    }

    fn enqueue_one(&mut self, task: NewTask, Admitted { queue, key, .. }: Admitted, now: Micros) -> Receipt {
        if let Some(known) = key.and_then(|key| self.keys.get(key).copied()) {
            return Receipt { id: known.id, duplicate: true };
        }
        if let Some(id) = self.holder(&task.spec, now) {
            return Receipt { id, duplicate: true };
        }
        let row = self.next_row;
        self.next_row += 1;
        let id = id_of(row, now, self.noise());
        if let Some(key) = key {
            self.keys.insert(key, Known { id, body_hash: task.spec.body_hash });
        }
        self.store(row, id, task, queue, now);
        Receipt { id, duplicate: false }
    }

    fn store(&mut self, row: Row, id: Uuid, mut task: NewTask, queue: u32, now: Micros) {
        (task.spec.namespace, task.spec.queue) = self.queues.names(queue);
        let slot = self.queues.at(queue).join(&task.spec.group);
        task.spec.group = self.queues.at(queue).group_name(slot);
        let spec = Arc::new(task.spec);
        let ready_at = after(now, task.delay);
        let mut entry = Entry::new(id, queue, Arc::clone(&spec), now, ready_at);
        entry.slot = slot;
        entry.payload_len = u32::try_from(task.payload.len()).unwrap_or(u32::MAX);
        self.cache(&mut entry, &task.payload);
        self.batch.inserts.push(Insert { row, id, spec, payload: task.payload, created: now, ready_at });
        self.lock(&entry);
        self.deadlines.add(row, &entry);
        if entry.status.blocked_by > 0 {
            // Its row does not say for which of its parents it waits: that it waits is in the journal.
            self.bind(row, &mut entry);
            if entry.status.blocked_by == 0 && entry.status.ready_at <= now {
                entry.status.state = State::Ready;
            }
            self.note(row, &mut entry, true);
        } else {
            self.batch.changes.push(Change::of(row, &entry, true));
            self.next_entry += 1;
        }
        self.queues.at(queue).performance.counts.enqueued += 1;
        self.enlist(row, &entry);
        self.place(row, &mut entry);
        self.entries.put(row, Box::new(entry));
    }

    /// Keeps a task whole with its payload, if there is room.
    fn cache(&mut self, entry: &mut Entry, payload: &Arc<[u8]>) {
        let bytes = payload.len() + entry.fixed_size();
        if self.cached + bytes <= self.limits.payload_cache {
            self.cached += bytes;
            entry.payload = Some(Arc::clone(payload));
        }
    }

    /// Takes the payload of a task that was kept whole.
    fn uncache(&mut self, entry: &mut Entry) -> Option<Arc<[u8]>> {
        let payload = entry.payload.take()?;
        self.cached = self.cached.saturating_sub(payload.len() + entry.fixed_size());
        Some(payload)
    }

    /// Puts a waiting, ready or leased task where it will be found.
    fn place(&mut self, row: Row, entry: &mut Entry) {
        let status = &entry.status;
        self.queues.enter(entry.queue, entry.slot, status.state);
        match status.state {
            State::Ready => {
                let queue = self.queues.at(entry.queue);
                queue.push(entry.slot, entry.spec.priority, status.ready_at, row);
                if self.touched.last() != Some(&entry.queue) {
                    self.touched.push(entry.queue);
                }
            }
            // Put there once it waits for nothing but its time.
            State::Waiting if status.blocked_by > 0 => {}
            State::Waiting => drop(self.waiting.insert((status.ready_at, row))),
            State::Leased => self.watch(row, entry),
            State::Completed | State::Dead | State::Cancelled => {}
        }
    }

    /// Looks at a lease again when it ends.
    fn watch(&mut self, row: Row, entry: &mut Entry) {
        let Some(hold) = &mut entry.hold else { return };
        hold.due = entry.status.expires;
        self.expiring.insert((hold.due, row));
    }

    /// Takes away the place that [`place`](Self::place) gave, unless it came up already.
    fn displace(&mut self, row: Row, entry: &Entry) {
        let status = &entry.status;
        match (status.state, &entry.hold) {
            (State::Ready, _) => {
                self.queues.at(entry.queue).pull(entry.slot, entry.spec.priority, status.ready_at, row);
            }
            (State::Waiting, _) => drop(self.waiting.remove(&(status.ready_at, row))),
            (State::Leased, Some(hold)) => drop(self.expiring.remove(&(hold.due, row))),
            _ => {}
        }
    }

    /// Fires ticks, makes due tasks ready, takes expired leases back and fills buckets, a bounded number at a time.
    pub fn tick(&mut self, now: Micros) {
        self.fire_due(now);
        self.now = now;
        self.queues.make_room(self.limits.queues);
        self.cascade(now);
        self.meet_deadlines(TICK, now);
        for _ in 0..TICK {
            let due = self.waiting.first().is_some_and(|(at, _)| *at <= now);
            let expired = self.expiring.first().is_some_and(|(at, _)| *at <= now);
            if due && let Some((_, row)) = self.waiting.pop_first() {
                self.apply(row, Event::Due, now, |_| {});
            }
            if expired && let Some((_, row)) = self.expiring.pop_first() {
                self.reclaim(row, now);
            }
            let woken = self.queues.wake(now);
            if !due && !expired && !woken {
                return;
            }
        }
    }

    /// Moves a live task by `event` and notes the change; `edit` sets what else changes with it, before the state does.
    /// Nothing happens when the event cannot happen in the task's state.
    fn apply(&mut self, row: Row, event: Event, now: Micros, edit: impl FnOnce(&mut Entry)) -> Option<State> {
        let entry = self.entries.take(row, &self.queues)?;
        self.move_on(row, entry, event, now, edit)
    }

    /// The same for one that was taken in hand.
    fn move_on(
        &mut self,
        row: Row,
        mut entry: Box<Entry>,
        event: Event,
        now: Micros,
        edit: impl FnOnce(&mut Entry),
    ) -> Option<State> {
        let Some(state) = task::next(entry.status.state, event) else {
            self.entries.put(row, entry);
            return None;
        };
        // One that is leased was taken from its place.
        if event != Event::Lease {
            self.displace(row, &entry);
        }
        self.queues.leave(entry.queue, entry.slot, entry.status.state);
        let held = entry.holder();
        edit(&mut entry);
        self.holders.moved(held, entry.holder());
        entry.status.state = state;
        entry.status.updated = now;
        self.place(row, &mut entry);
        self.note(row, &mut entry, true);
        self.entries.put(row, entry);
        Some(state)
    }

    /// Notes the state of a task as the next journal entry.
    fn note(&mut self, row: Row, entry: &mut Entry, event: bool) {
        if entry.journal == 0 {
            self.retention.journaled += 1;
        }
        entry.journal = self.next_entry;
        self.next_entry += 1;
        self.batch.changes.push(Change::of(row, entry, event));
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_tick(&self) -> Option<Micros> {
        let due = self.waiting.first().map(|(at, _)| *at);
        let expired = self.expiring.first().map(|(at, _)| *at);
        let at_once = self.flow.is_busy().then_some(0);
        let planned = self.deadlines.next().into_iter().chain(self.schedules.next());
        let wakes = self.queues.next_alarm();
        due.into_iter().chain(expired).chain(planned).chain(wakes).chain(at_once).min()
    }

    /// Index of a queue, made when it is new.
    ///
    /// # Errors
    /// There are as many queues as may be.
    fn intern(&mut self, namespace: &Arc<str>, queue: &Arc<str>) -> Result<u32, Error> {
        let limit = self.limits.queues;
        self.queues.intern(namespace, queue, limit).ok_or(Error::TooManyQueues(limit))
    }

    /// About the bytes of memory that live tasks take, payloads apart.
    pub fn bytes(&self) -> usize {
        self.entries.bytes() + self.flow.bytes()
    }

    /// Namespace and name of a queue that got ready tasks.
    pub fn name_of(&self, queue: u32) -> (Arc<str>, Arc<str>) {
        self.queues.names(queue)
    }

    /// True when a queue has nothing ready.
    pub fn is_empty(&self, queue: u32) -> bool {
        self.queues.is_empty(queue)
    }

    /// True when a commit has something to write.
    pub fn has_changes(&self) -> bool {
        !self.batch.is_empty() || !self.queues.signals.facts.is_empty()
    }

    /// The queues that got ready tasks, or opened, since this was asked last.
    pub fn take_touched(&mut self) -> Vec<u32> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.append(&mut self.queues.signals.opened);
        touched
    }

    /// A live task, without payload unless memory has it.
    pub fn task(&self, namespace: &str, id: Uuid) -> Option<Task> {
        let entry = self.live(namespace, id)?;
        Some(Task { payload: entry.payload.clone(), ..entry.view() })
    }

    /// Counts of up to `limit` queues of a namespace after a name, by name.
    pub fn stats(&self, namespace: &str, after: &str, limit: usize) -> Vec<QueueStats> {
        self.queues.stats(namespace, after, limit)
    }

    /// A queue as a whole, if anybody has named it.
    pub fn queue(&self, namespace: &str, name: &str) -> Option<QueueView> {
        self.queues.view(namespace, name, self.since, self.now)
    }

    /// What workers of a namespace hold, by name.
    pub fn held_by(&self, namespace: &str, workers: &[Arc<str>]) -> Vec<Holding> {
        workers.iter().map(|worker| self.holders.held(namespace, worker)).collect()
    }

    /// Figures of the first `most` queues by themselves, and of all others together.
    pub fn figures(&self, most: usize) -> Vec<Figures> {
        self.queues.figures(most)
    }

    /// A look at a live task.
    fn entry(&self, row: Row) -> Option<Cow<'_, Entry>> {
        self.entries.get(row, &self.queues)
    }

    fn live(&self, namespace: &str, id: Uuid) -> Option<Cow<'_, Entry>> {
        self.entry(row_of(id)).filter(|entry| entry.id == id && &*entry.spec.namespace == namespace)
    }

    /// The next number of a splitmix64 sequence.
    fn noise(&mut self) -> u64 {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.noise;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in 0..1.
    fn jitter(&mut self) -> f64 {
        f64::from(u32::try_from(self.noise() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

/// Adds the ids of the tasks that a task names by their place in its call.
fn name_parents(task: &mut NewTask, receipts: &[Receipt]) {
    let Some(terms) = task.spec.terms.as_deref_mut() else { return };
    let named = task.after_index.iter().filter_map(|index| receipts.get(*index as usize));
    terms.after.extend(named.map(|receipt| receipt.id));
    terms.after.sort_unstable();
    terms.after.dedup();
}
