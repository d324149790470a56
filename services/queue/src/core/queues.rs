//! Every queue, found by name once and by index from then on, and what they signal.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    core::{
        entry::{Row, nobody},
        groups::Slot,
        queue::{Queue, Signals},
    },
    figures::Figures,
    record::{QueueStats, QueueView},
    task::{Micros, State},
};

/// Most queues that one commit looks at to let them go.
const STEP: usize = 1_024;

/// All queues of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Queues {
    all: Vec<Queue>,
    index: HashMap<Arc<str>, HashMap<Arc<str>, u32>>,
    /// Places of queues that are gone.
    free: Vec<u32>,
    /// Every queue that holds nothing, and some that did once.
    idle: BTreeSet<u32>,
    /// What queues that are gone had counted.
    gone: Option<Figures>,
    /// What queues have told.
    pub(super) signals: Signals,
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
        if self.len() >= limit {
            return None;
        }
        let index = self.free.pop().or_else(|| u32::try_from(self.all.len()).ok())?;
        let queue = Queue::new(Arc::clone(namespace), Arc::clone(name), index);
        match self.all.get_mut(index as usize) {
            Some(place) => *place = queue,
            None => self.all.push(queue),
        }
        self.index.entry(Arc::clone(namespace)).or_default().insert(Arc::clone(name), index);
        self.idle.insert(index);
        Some(index)
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Takes note of a queue that may hold nothing any more.
    pub(super) fn emptied(&mut self, index: u32) {
        if self.all[index as usize].is_idle() {
            self.idle.insert(index);
        }
    }

    /// Lets queues go that hold nothing, a bounded number at a time, once only an eighth of `limit` is left to be named.
    /// Nobody may know a queue by its index meanwhile, unless it holds something.
    pub(super) fn make_room(&mut self, limit: usize) {
        for _ in 0..STEP {
            if self.len() < limit - limit / 8 {
                return;
            }
            let Some(index) = self.idle.pop_first() else { return };
            self.drop_idle(index);
        }
    }

    /// Drops a queue that holds nothing; false when it holds something.
    pub(super) fn drop_idle(&mut self, index: u32) -> bool {
        let queue = &mut self.all[index as usize];
        if !queue.is_idle() {
            return false;
        }
        let gone = std::mem::replace(queue, Queue::new(nobody(), nobody(), index));
        if gone.is_used() {
            self.gone.get_or_insert_default().add(&figures(&gone));
        }
        let (namespace, name) = gone.name();
        if let Some(names) = self.index.get_mut(namespace) {
            names.remove(name);
            if names.is_empty() {
                self.index.remove(namespace);
            }
        }
        self.idle.remove(&index);
        self.free.push(index);
        true
    }

    /// The queue of an index that [`intern`](Self::intern) gave.
    pub(super) fn at(&mut self, index: u32) -> &mut Queue {
        &mut self.all[index as usize]
    }

    /// Takes the next task of a queue that may start.
    pub(super) fn pop(&mut self, index: u32, step: Duration, now: Micros) -> Option<Row> {
        self.all[index as usize].pop(step, now, &mut self.signals)
    }

    /// A task of a queue's group entered `state`.
    pub(super) fn enter(&mut self, index: u32, slot: Slot, state: State) {
        self.all[index as usize].enter(state, slot, &mut self.signals);
    }

    /// A task of a queue's group left `state`; [`retire`](Self::retire) must follow when it left for good.
    pub(super) fn leave(&mut self, index: u32, slot: Slot, state: State) {
        self.all[index as usize].leave(state, slot, &mut self.signals);
    }

    /// Drops a group that has no task left.
    pub(super) fn retire(&mut self, index: u32, slot: Slot) {
        self.all[index as usize].retire(slot, &mut self.signals);
    }

    /// Lets a queue take its new settings to heart.
    pub(super) fn configured(&mut self, index: u32, now: Micros) {
        self.all[index as usize].configured(now, &mut self.signals);
        self.emptied(index);
    }

    /// The same for all of them, once their tasks are there.
    pub(super) fn restored(&mut self, now: Micros) {
        for queue in &mut self.all {
            queue.configured(now, &mut self.signals);
        }
    }

    /// Lets one alarm go off that is due; false when none is.
    pub(super) fn wake(&mut self, now: Micros) -> bool {
        let Some(Reverse((at, index, slot))) =
            self.signals.alarms.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        else {
            return false;
        };
        self.signals.alarms.pop();
        self.all[index as usize].woken(slot, at, now, &mut self.signals);
        self.emptied(index);
        true
    }

    /// When the next alarm goes off.
    pub(super) fn next_alarm(&self) -> Option<Micros> {
        self.signals.alarms.peek().map(|Reverse((at, ..))| *at)
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
        let (namespace, name) = self.all[index as usize].name();
        (Arc::clone(namespace), Arc::clone(name))
    }

    /// The name of a group that has tasks, shared like those.
    pub(super) fn group_name(&self, index: u32, slot: Slot) -> Arc<str> {
        self.all[index as usize].group_name(slot)
    }

    /// Figures of the first `most` queues by themselves, and of all others together, those that are gone included.
    pub(super) fn figures(&self, most: usize) -> Vec<Figures> {
        let mut used = self.all.iter().filter(|queue| queue.is_used()).map(figures);
        let mut told: Vec<Figures> = used.by_ref().take(most).collect();
        let others = used.chain(self.gone.clone()).reduce(|mut others, figures| {
            others.add(&figures);
            others
        });
        told.extend(others.map(|others| Figures { name: None, ..others }));
        told
    }

    /// The queue of a name, or all of a namespace.
    pub(super) fn of(&self, namespace: &str, name: Option<&str>) -> Vec<&Queue> {
        let Some(names) = self.index.get(namespace) else { return Vec::new() };
        let at = |index: &u32| &self.all[*index as usize];
        match name {
            Some(name) => names.get(name).map(at).into_iter().collect(),
            None => names.values().map(at).collect(),
        }
    }

    /// Counts of up to `limit` queues of a namespace that hold or held a task, after a name and by name.
    pub(super) fn stats(&self, namespace: &str, after: &str, limit: usize) -> Vec<QueueStats> {
        let mut queues = self.of(namespace, None);
        queues.retain(|queue| **queue.name().1 > *after && queue.is_known());
        // The others need no order.
        if queues.len() > limit {
            queues.select_nth_unstable_by_key(limit, |queue| queue.name().1);
            queues.truncate(limit);
        }
        queues.sort_unstable_by_key(|queue| queue.name().1);
        queues.into_iter().map(Queue::stats).collect()
    }
}

fn figures(queue: &Queue) -> Figures {
    let (namespace, name) = queue.name();
    let performance = &queue.performance;
    Figures {
        name: Some((Arc::clone(namespace), Arc::clone(name))),
        stats: queue.stats(),
        counts: performance.counts,
        wait: performance.waits.clone(),
        run: performance.runs.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::groups::NAMELESS;

    #[test]
    fn many_queues_are_told_as_a_few_and_the_rest() {
        let mut queues = Queues::default();
        for number in 0..10 {
            let index = queues.intern(&"n".into(), &format!("q-{number}").into(), 100).unwrap();
            queues.enter(index, NAMELESS, State::Ready);
            queues.at(index).push(NAMELESS, 0, number, 1);
        }
        let figures = queues.figures(3);
        let told: Vec<_> = figures.iter().map(|told| (told.name.is_some(), told.stats.ready)).collect();
        assert_eq!(told, [(true, 1), (true, 1), (true, 1), (false, 7)]);
        assert_eq!(figures[3].stats.oldest_ready, Some(3));
        assert_eq!(queues.figures(10).len(), 10);
    }

    #[test]
    fn queues_are_told_by_name_a_part_at_a_time() {
        let mut queues = Queues::default();
        for name in ["d", "b", "unused", "a", "c"] {
            let index = queues.intern(&"n".into(), &name.into(), 100).unwrap();
            if name != "unused" {
                queues.enter(index, NAMELESS, State::Ready);
            }
        }
        let told = |after, limit| {
            let rows = queues.stats("n", after, limit).into_iter();
            rows.map(|row| row.queue.to_string()).collect::<Vec<_>>()
        };
        assert_eq!([told("", 2), told("b", 2), told("d", 2)], [vec!["a", "b"], vec!["c", "d"], vec![]]);
        assert_eq!(told("", 4), ["a", "b", "c", "d"]);
        assert!(queues.stats("other", "", 2).is_empty());
    }
}
