//! The queues: who is ready, in which order, and how many are where.
//!
//! A queue keeps one heap for each priority, ordered by ready time. The next task is the one with the least
//! `ready_at + penalty[priority]`: ageing without ever rewriting an order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    core::{entry::Row, performance::Performance, upkeep::EndedTasks},
    record::{Depth, Intake, QueueSettings, QueueStats, QueueView},
    task::{Micros, State},
};

/// Priorities go from 0 (lowest) to 9.
const PRIORITIES: usize = 10;

/// One queue of one namespace.
#[derive(Debug)]
pub(super) struct Queue {
    namespace: Arc<str>,
    name: Arc<str>,
    ready: [BinaryHeap<Reverse<(Micros, Row)>>; PRIORITIES],
    counts: [u64; 7],
    used: bool,
    /// What operators say of it.
    pub(super) settings: QueueSettings,
    /// How it performs.
    pub(super) performance: Performance,
    /// Its tasks that ended and are kept.
    pub(super) ended: EndedTasks,
}

impl Queue {
    fn new(namespace: Arc<str>, name: Arc<str>) -> Self {
        Self {
            namespace,
            name,
            ready: Default::default(),
            counts: [0; 7],
            used: false,
            settings: QueueSettings::default(),
            performance: Performance::default(),
            ended: EndedTasks::default(),
        }
    }

    /// Makes a task available.
    pub(super) fn push(&mut self, priority: u8, ready_at: Micros, row: Row) {
        self.ready[usize::from(priority).min(PRIORITIES - 1)].push(Reverse((ready_at, row)));
    }

    /// Takes the next task.
    pub(super) fn pop(&mut self, step: Duration) -> Option<Row> {
        if self.settings.intake == Intake::Paused {
            return None;
        }
        let best = self.best(step)?;
        self.ready[best].pop().map(|Reverse((_, row))| row)
    }

    /// True when nothing may be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.count(State::Ready) == 0 || self.settings.intake == Intake::Paused
    }

    /// How many of its tasks have not ended.
    pub(super) fn live(&self) -> u64 {
        self.count(State::Waiting) + self.count(State::Ready) + self.count(State::Leased)
    }

    /// Namespace and name.
    pub(super) fn name(&self) -> (&Arc<str>, &Arc<str>) {
        (&self.namespace, &self.name)
    }

    fn best(&self, step: Duration) -> Option<usize> {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        let key = |priority: usize, ready_at: Micros, row: Row| {
            let penalty = step.saturating_mul(i64::try_from(PRIORITIES - 1 - priority).unwrap_or(0));
            (ready_at.saturating_add(penalty), row)
        };
        (0..PRIORITIES)
            .filter_map(|priority| {
                let Reverse((ready_at, row)) = self.ready[priority].peek()?;
                Some((key(priority, *ready_at, *row), priority))
            })
            .min()
            .map(|(_, priority)| priority)
    }

    /// A task entered `state`.
    pub(super) fn enter(&mut self, state: State) {
        self.used = true;
        self.counts[usize::from(state.code())] += 1;
    }

    /// A task left `state`.
    pub(super) fn leave(&mut self, state: State) {
        let count = &mut self.counts[usize::from(state.code())];
        *count = count.saturating_sub(1);
    }

    fn count(&self, state: State) -> u64 {
        self.counts[usize::from(state.code())]
    }

    fn oldest_ready(&self) -> Option<Micros> {
        self.ready.iter().filter_map(|heap| heap.peek()).map(|Reverse((at, _))| *at).min()
    }

    fn depth(&self) -> Depth {
        Depth {
            name: Some((Arc::clone(&self.namespace), Arc::clone(&self.name))),
            waiting: self.count(State::Waiting),
            ready: self.count(State::Ready),
            leased: self.count(State::Leased),
            oldest_ready: self.oldest_ready(),
        }
    }

    fn stats(&self) -> QueueStats {
        QueueStats {
            queue: Arc::clone(&self.name),
            waiting: self.count(State::Waiting),
            ready: self.count(State::Ready),
            leased: self.count(State::Leased),
            completed: self.count(State::Completed),
            dead: self.count(State::Dead),
            cancelled: self.count(State::Cancelled),
            intake: self.settings.intake,
            oldest_ready: self.oldest_ready(),
        }
    }
}

/// Every queue, found by name once and by index from then on.
#[derive(Debug, Default)]
pub(super) struct Queues {
    all: Vec<Queue>,
    index: HashMap<Arc<str>, HashMap<Arc<str>, u32>>,
}

impl Queues {
    /// Index of a queue, if anybody has named it.
    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<u32> {
        self.index.get(namespace)?.get(name).copied()
    }

    /// Index of a queue; makes it when it is new, unless there are `limit` already.
    pub(super) fn intern(&mut self, namespace: &Arc<str>, name: &Arc<str>, limit: usize) -> Option<u32> {
        if let Some(found) = self.find(namespace, name) {
            return Some(found);
        }
        if self.all.len() >= limit {
            return None;
        }
        let index = u32::try_from(self.all.len()).ok()?;
        self.all.push(Queue::new(Arc::clone(namespace), Arc::clone(name)));
        self.index.entry(Arc::clone(namespace)).or_default().insert(Arc::clone(name), index);
        Some(index)
    }

    /// The queue of an index that [`intern`](Self::intern) gave.
    pub(super) fn at(&mut self, index: u32) -> &mut Queue {
        &mut self.all[index as usize]
    }

    /// A queue as a whole, if anybody has named it.
    pub(super) fn view(&self, namespace: &str, name: &str, since: Micros, now: Micros) -> Option<QueueView> {
        let queue = &self.all[self.find(namespace, name)? as usize];
        let performance = queue.performance.view(since, now);
        Some(QueueView { settings: queue.settings.clone(), stats: queue.stats(), performance })
    }

    /// True when nothing may be taken from the queue.
    pub(super) fn is_empty(&self, index: u32) -> bool {
        self.all[index as usize].is_empty()
    }

    /// The queue's own copies of its names, so that many tasks share one allocation.
    pub(super) fn names(&self, index: u32) -> (Arc<str>, Arc<str>) {
        let queue = &self.all[index as usize];
        (Arc::clone(&queue.namespace), Arc::clone(&queue.name))
    }

    /// Depth and age of the first `most` queues by themselves, and of all others together.
    pub(super) fn depths(&self, most: usize) -> Vec<Depth> {
        let used = self.all.iter().filter(|queue| queue.used);
        let mut depths: Vec<Depth> = Vec::new();
        for (number, queue) in used.enumerate() {
            let depth = queue.depth();
            match depths.get_mut(most).filter(|_| number >= most) {
                Some(others) => others.add(&depth),
                None if number >= most => depths.push(Depth { name: None, ..depth }),
                None => depths.push(depth),
            }
        }
        depths
    }

    /// Counts of every queue of a namespace that holds or held a task, by name.
    pub(super) fn stats(&self, namespace: &str) -> Vec<QueueStats> {
        let Some(names) = self.index.get(namespace) else { return Vec::new() };
        let mut rows: Vec<QueueStats> = names
            .values()
            .map(|index| &self.all[*index as usize])
            .filter(|queue| queue.used || queue.settings != QueueSettings::default())
            .map(Queue::stats)
            .collect();
        rows.sort_by(|left, right| left.queue.cmp(&right.queue));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    fn queue(tasks: &[(u8, Micros, Row)]) -> Queue {
        let mut queue = Queue::new("default".into(), "q".into());
        for (priority, ready_at, row) in tasks {
            queue.push(*priority, *ready_at, *row);
        }
        queue
    }

    fn drain(mut queue: Queue) -> Vec<Row> {
        std::iter::from_fn(|| queue.pop(STEP)).collect()
    }

    #[test]
    fn equal_tasks_leave_in_the_order_they_came() {
        assert_eq!(drain(queue(&[(5, 10, 1), (5, 10, 2), (5, 10, 3)])), [1, 2, 3]);
    }

    #[test]
    fn many_queues_are_told_as_a_few_and_the_rest() {
        let mut queues = Queues::default();
        for number in 0..10 {
            let index = queues.intern(&"n".into(), &format!("q-{number}").into(), 100).unwrap();
            queues.at(index).enter(State::Ready);
            queues.at(index).push(0, number, 1);
        }
        let depths = queues.depths(3);
        let told: Vec<_> = depths.iter().map(|depth| (depth.name.is_some(), depth.ready)).collect();
        assert_eq!(told, [(true, 1), (true, 1), (true, 1), (false, 7)]);
        assert_eq!(depths[3].oldest_ready, Some(3));
        assert_eq!(queues.depths(10).len(), 10);
    }

    #[test]
    fn a_higher_priority_leaves_first() {
        assert_eq!(drain(queue(&[(0, 0, 1), (9, 10, 2)])), [2, 1]);
    }

    #[test]
    fn a_low_priority_ages_past_newer_high_ones() {
        let aged = 9_000_001;
        assert_eq!(drain(queue(&[(0, 0, 1), (9, aged, 2)])), [1, 2]);
    }
}
