//! Lease calls that wait for work, in the order in which they came.
//!
//! They wait for names: a queue that nobody has put a task into is not made by being asked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    engine::inbox::Reply,
    error::Error,
    record::{Lease, LeaseRequest},
    task::{Micros, after},
};

/// Namespace and name of a queue.
type Name = (Arc<str>, Arc<str>);

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// What it asks for.
    pub(crate) request: LeaseRequest,
    /// Where its answer goes.
    pub(crate) reply: Reply<Vec<Lease>>,
    until: Micros,
}

impl Waiter {
    fn names(&self) -> impl Iterator<Item = Name> {
        let LeaseRequest { namespace, queues, .. } = &self.request;
        queues.iter().map(|queue| (Arc::clone(namespace), Arc::clone(queue)))
    }

    fn is_alone(&self) -> bool {
        self.request.stream == 0
    }
}

/// Every call that waits. Those of streams always may: how many streams there are is bounded elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// Most calls without a stream that may wait.
    most: usize,
    /// How many do.
    alone: usize,
    waiters: BTreeMap<u64, Waiter>,
    by_queue: HashMap<Name, BTreeSet<u64>>,
    by_time: BTreeSet<(Micros, u64)>,
    next: u64,
}

impl Parked {
    /// None yet, and at most so many without a stream.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Lets a call wait on its queues.
    pub(crate) fn park(&mut self, request: LeaseRequest, reply: Reply<Vec<Lease>>, now: Micros) {
        let until = after(now, request.wait);
        let waiter = Waiter { request, reply, until };
        if waiter.is_alone() && self.alone >= self.most {
            // A caller that is gone needs no answer.
            drop(waiter.reply.send(Err(Error::Busy("waiting lease calls"))));
            return;
        }
        self.alone += usize::from(waiter.is_alone());
        let number = self.next;
        self.next += 1;
        for name in waiter.names() {
            self.by_queue.entry(name).or_default().insert(number);
        }
        self.by_time.insert((until, number));
        self.waiters.insert(number, waiter);
    }

    /// The call that has waited longest on a queue and is still there.
    pub(crate) fn take(&mut self, queue: &Name) -> Option<Waiter> {
        loop {
            let number = *self.by_queue.get(queue)?.first()?;
            let waiter = self.remove(number)?;
            if !waiter.reply.is_closed() {
                return Some(waiter);
            }
        }
    }

    /// A call whose time is over.
    pub(crate) fn take_late(&mut self, now: Micros) -> Option<Waiter> {
        let (_, number) = *self.by_time.first().filter(|(until, _)| *until <= now)?;
        self.remove(number)
    }

    /// Every call in order, to be told that the engine failed.
    pub(crate) fn take_all(&mut self) -> Vec<Waiter> {
        self.by_queue.clear();
        self.by_time.clear();
        self.alone = 0;
        std::mem::take(&mut self.waiters).into_values().collect()
    }

    /// When the first call's time is over.
    pub(crate) fn next_late(&self) -> Option<Micros> {
        self.by_time.first().map(|(until, _)| *until)
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.alone -= usize::from(waiter.is_alone());
        self.by_time.remove(&(waiter.until, number));
        for name in waiter.names() {
            if let Some(numbers) = self.by_queue.get_mut(&name) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_queue.remove(&name);
                }
            }
        }
        Some(waiter)
    }
}
