//! Schedules in memory: which tick is next, and firing those that are due.
//!
//! The task of a tick and the fact that the tick is done with go into one batch, so that either both are written or
//! none is: a tick fires once, whatever crashes and whoever leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    core::Core,
    error::Error,
    schedule::{Fired, Key, Schedule},
    task::Micros,
};

/// Kind of the facts that schedules are; after it come namespace and name.
pub(super) const KIND: &str = "schedule";

/// Fewest ticks after which one [`Core::tick`] fires no further schedule, so that a commit stays short.
const FIRED: usize = 1_000;

/// A tick that made a task, or why it made none.
#[derive(Debug)]
pub struct Tick {
    /// Whose.
    pub key: Key,
    /// The tick.
    pub at: Micros,
    /// The task.
    pub made: Result<Uuid, Error>,
}

/// Every schedule, by key and by next tick.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    all: BTreeMap<Key, Schedule>,
    due: BTreeSet<(Micros, Key)>,
}

impl Schedules {
    /// Stores a schedule in place of the one of its key, which [`take`](Self::take) took out.
    fn keep(&mut self, schedule: Schedule) {
        if let Some(next) = schedule.next() {
            self.due.insert((next, schedule.key.clone()));
        }
        self.all.insert(schedule.key.clone(), schedule);
    }

    fn take(&mut self, key: &Key) -> Option<Schedule> {
        let schedule = self.all.remove(key)?;
        if let Some(next) = schedule.next() {
            self.due.remove(&(next, key.clone()));
        }
        Some(schedule)
    }

    fn take_due(&mut self, now: Micros) -> Option<Schedule> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.all.remove(&key)
    }

    /// The next tick of all.
    pub(super) fn next(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Core {
    /// Stores a schedule, in place of one of its key; ticks up to `now` are done with. What was known of ticks stays.
    ///
    /// # Errors
    /// There are as many schedules as may be.
    pub fn put_schedule(&mut self, mut schedule: Schedule, now: Micros) -> Result<Schedule, Error> {
        let limit = self.limits.schedules;
        if self.schedules.all.len() >= limit && !self.schedules.all.contains_key(&schedule.key) {
            return Err(Error::TooManySchedules(limit));
        }
        (schedule.created, schedule.seen) = (now, now);
        if let Some(before) = self.schedules.take(&schedule.key) {
            schedule.created = before.created;
            // A clock that went back fires no tick again.
            schedule.seen = before.seen.max(now);
            (schedule.last, schedule.skipped) = (before.last, before.skipped);
        }
        self.keep(schedule.clone());
        Ok(schedule)
    }

    /// Ends a schedule.
    ///
    /// # Errors
    /// There is none.
    pub fn delete_schedule(&mut self, key: &Key) -> Result<(), Error> {
        self.schedules.take(key).ok_or_else(|| Error::NoSchedule(key.1.to_string()))?;
        self.batch.facts.insert(fact_key(key), None);
        Ok(())
    }

    /// A schedule.
    pub fn schedule(&self, key: &Key) -> Option<Schedule> {
        self.schedules.all.get(key).cloned()
    }

    /// Schedules of a namespace after a name, by name.
    pub fn schedules_after(&self, namespace: &Arc<str>, name: &str, limit: usize) -> Vec<Schedule> {
        let after = Bound::Excluded((Arc::clone(namespace), Arc::from(name)));
        let found = self.schedules.all.range((after, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.0 == *namespace).take(limit);
        found.map(|(_, schedule)| schedule.clone()).collect()
    }

    /// Takes a kept schedule.
    pub(super) fn restore_schedule(&mut self, key: Key, fact: &str) -> Result<(), Error> {
        self.schedules.keep(Schedule::from_fact(key, fact)?);
        Ok(())
    }

    /// Fires the ticks that are due, a bounded number at a time.
    pub(super) fn fire_due(&mut self, now: Micros) {
        let mut fired = 0;
        while fired < FIRED
            && let Some(mut schedule) = self.schedules.take_due(now)
        {
            let (ticks, seen) = schedule.due(now);
            fired += ticks.len().max(1);
            for at in ticks {
                self.fire(&mut schedule, at, now);
            }
            schedule.seen = seen;
            self.keep(schedule);
        }
    }

    fn fire(&mut self, schedule: &mut Schedule, at: Micros, now: Micros) {
        let task = schedule.task_at(at, self.new_trace());
        let made = self.enqueue(vec![task], now).map(|receipts| receipts[0].id);
        match &made {
            Ok(id) => schedule.last = Some(Fired { at, task: *id }),
            Err(_) => schedule.skipped += 1,
        }
        self.batch.ticks.push(Tick { key: schedule.key.clone(), at, made });
    }

    fn keep(&mut self, schedule: Schedule) {
        self.batch.facts.insert(fact_key(&schedule.key), Some(schedule.fact()));
        self.schedules.keep(schedule);
    }

    /// The context of a trace that nobody began (<https://www.w3.org/TR/trace-context>).
    fn new_trace(&mut self) -> String {
        // An id of zeros alone is none.
        let [high, low, span] = [self.noise(), self.noise(), self.noise()].map(|noise| noise | 1);
        format!("00-{high:016x}{low:016x}-{span:016x}-01")
    }
}

fn fact_key((namespace, name): &Key) -> String {
    format!("{KIND}/{namespace}/{name}")
}
