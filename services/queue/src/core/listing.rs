//! Which tasks a queue has, by row: what lists walk, newest first, without a look at the tasks of other queues.
//!
//! A list names a queue or a namespace, and states. Each queue knows the rows of its live tasks and of those that are
//! kept, by how they ended; a list merges those that it is about. Memory tells all of a live task, and of one that
//! ended only that it is there: the rest is in the ledger.

use std::collections::{BTreeMap, BinaryHeap};

use uuid::Uuid;

use crate::{
    core::{
        Core,
        entry::{Entry, Row},
    },
    record::{Fits, Task, TaskFilter},
    task::State,
};

/// Tasks that one look passes at most, so that others are served in between.
const STRETCH: usize = 1_024;

/// Rows of a word.
const WORD: u64 = 64;

/// Rows in order: neighbours share a word, so that a backlog takes a few bits for each task.
#[derive(Debug, Default)]
struct RowSet(BTreeMap<u64, u64>);

impl RowSet {
    fn insert(&mut self, row: Row) {
        *self.0.entry(row / WORD).or_default() |= 1_u64 << (row % WORD);
    }

    fn remove(&mut self, row: Row) {
        let Some(word) = self.0.get_mut(&(row / WORD)) else { return };
        *word &= !(1_u64 << (row % WORD));
        if *word == 0 {
            self.0.remove(&(row / WORD));
        }
    }

    /// The greatest before a row.
    fn before(&self, row: Row) -> Option<Row> {
        let (number, below) = (row / WORD, (1_u64 << (row % WORD)) - 1);
        let same = self.0.get(&number).map(|word| (number, word & below)).filter(|(_, word)| *word > 0);
        let earlier = || self.0.range(..number).next_back().map(|(number, word)| (*number, *word));
        let (number, word) = same.or_else(earlier)?;
        Some(number * WORD + u64::from(word.ilog2()))
    }
}

/// Rows of one queue's tasks: of those that live, and of those that ended, by how.
#[derive(Debug, Default)]
pub(super) struct Members([RowSet; 4]);

/// The set of tasks in a state.
fn set_of(state: State) -> usize {
    match state {
        State::Waiting | State::Ready | State::Leased => 0,
        State::Completed => 1,
        State::Dead => 2,
        State::Cancelled => 3,
    }
}

impl Members {
    /// A task is there in a state; one that lives need not be told of again while it does.
    pub(super) fn add(&mut self, row: Row, state: State) {
        self.0[set_of(state)].insert(row);
    }

    /// A task lives no more, or is kept no longer.
    pub(super) fn remove(&mut self, row: Row, state: State) {
        self.0[set_of(state)].remove(row);
    }

    /// The sets in which tasks in these states are; all of them when there are none.
    fn sets(&self, states: &[State]) -> impl Iterator<Item = &RowSet> {
        let wanted = move |set: usize| states.is_empty() || states.iter().any(|state| set_of(*state) == set);
        self.0.iter().enumerate().filter(move |(set, _)| wanted(*set)).map(|(_, rows)| rows)
    }
}

/// Every row of some sets before one, greatest first.
fn newest<'a>(sets: impl Iterator<Item = &'a RowSet>, row: Row) -> impl Iterator<Item = Row> {
    let sets: Vec<_> = sets.collect();
    let first = |(at, set): (usize, &&RowSet)| Some((set.before(row)?, at));
    let mut heads: BinaryHeap<_> = sets.iter().enumerate().filter_map(first).collect();
    std::iter::from_fn(move || {
        let (row, at) = heads.pop()?;
        heads.extend(sets[at].before(row).map(|next| (next, at)));
        Some(row)
    })
}

/// A task of a list.
#[derive(Debug)]
pub enum Listed {
    /// It lives, and fits.
    Live(Box<Task>),
    /// It ended; whether it fits, the ledger knows.
    Ended(Uuid),
}

impl Listed {
    pub(super) fn id(&self) -> Uuid {
        match self {
            Self::Live(task) => task.id,
            Self::Ended(id) => *id,
        }
    }
}

/// A part of a list.
#[derive(Debug, Default)]
pub struct Stretch {
    /// Newest first.
    pub tasks: Vec<Listed>,
    /// The last task that was looked at; none at the end of the list.
    pub next: Option<Uuid>,
}

impl Core {
    /// Tasks before a row, as far as one look goes: about 1,000 of those that are in the queue, or the namespace, and
    /// in the states that are asked for. None of any other is looked at.
    pub fn list(&self, filter: &TaskFilter, before: Row) -> Stretch {
        let queues = self.queues.of(&filter.namespace, filter.queue.as_deref());
        let sets = queues.iter().flat_map(|queue| queue.members.sets(&filter.states));
        // A page needs no more than it holds, and one to know that it is not the last, where all fit.
        let enough = if filter.fits == Fits::default() { filter.limit.saturating_add(1) } else { STRETCH };
        let mut stretch = Stretch::default();
        let mut rows = newest(sets, before);
        for _ in 0..STRETCH {
            let Some(row) = rows.next() else { return Stretch { next: None, ..stretch } };
            let Some(found) = self.listed(row) else { continue };
            stretch.next = Some(found.id());
            stretch.tasks.extend(Some(found).filter(|found| found.may_fit(filter)));
            if stretch.tasks.len() >= enough {
                break;
            }
        }
        stretch
    }

    fn listed(&self, row: Row) -> Option<Listed> {
        let live = self.entry(row).map(|entry| Listed::Live(Box::new(entry.view())));
        live.or_else(|| self.retention.kept(row).map(|kept| Listed::Ended(kept.id)))
    }

    /// A task lives from now on, or ended and is kept: its queue lists it.
    pub(super) fn enlist(&mut self, row: Row, entry: &Entry) {
        self.queues.at(entry.queue).members.add(row, entry.status.state);
    }
}

impl Listed {
    fn may_fit(&self, filter: &TaskFilter) -> bool {
        match self {
            Self::Live(task) => filter.admits(task),
            Self::Ended(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        core::model::{limits, task},
        record::NewTask,
        task::Micros,
    };

    const NOW: Micros = 1_700_000_000_000_000;

    proptest! {
        #[test]
        fn rows_come_in_order_whichever_set_they_are_in(
            steps in proptest::collection::vec((0u64..300, 0usize..4, any::<bool>()), 0..400), from in 0u64..320,
        ) {
            let (mut sets, mut all): ([RowSet; 4], [BTreeSet<Row>; 4]) = Default::default();
            for (row, set, goes) in steps {
                if goes {
                    sets[set].remove(row);
                    all[set].remove(&row);
                } else {
                    sets[set].insert(row);
                    all[set].insert(row);
                }
            }
            let mut expected: Vec<_> = all.iter().flatten().copied().filter(|row| *row < from).collect();
            expected.sort_unstable_by(|left, right| right.cmp(left));
            prop_assert_eq!(newest(sets.iter(), from).collect::<Vec<_>>(), expected);
            let words: BTreeSet<_> = all[0].iter().map(|row| row / WORD).collect();
            prop_assert_eq!(sets[0].0.len(), words.len(), "a word that is empty stays");
        }
    }

    /// A core with `count` ready tasks of a queue.
    fn put(core: &mut Core, namespace: &str, queue: &str, count: usize) -> Vec<Uuid> {
        let one = || {
            let mut task: NewTask = task(None, false, "");
            (task.spec.namespace, task.spec.queue) = (namespace.into(), queue.into());
            task
        };
        let receipts = core.enqueue((0..count).map(|_| one()).collect(), NOW).unwrap();
        receipts.into_iter().map(|receipt| receipt.id).collect()
    }

    fn filter(queue: Option<&str>, states: Vec<State>) -> TaskFilter {
        let namespace = "default".into();
        let fits = Fits { kind: Some("k".into()), ..Fits::default() };
        TaskFilter { namespace, queue: queue.map(Into::into), states, before: None, limit: 10, fits }
    }

    /// The tasks of a list that one look finds, when it is all of the list.
    fn whole(core: &Core, filter: &TaskFilter) -> Vec<Uuid> {
        let stretch = core.list(filter, Row::MAX);
        assert_eq!(stretch.next, None, "one look is enough");
        stretch.tasks.iter().map(Listed::id).collect()
    }

    #[test]
    fn tasks_of_others_are_not_looked_at() {
        let mut core = Core::new(crate::core::Limits { tasks: 1_000_000, ..limits() }, 1);
        let ids = put(&mut core, "default", "mine", 2);
        core.cancel("default", &ids[..1], "no longer wanted", NOW);
        put(&mut core, "default", "others", 3 * STRETCH);
        put(&mut core, "other", "mine", 3 * STRETCH);
        assert_eq!(whole(&core, &filter(Some("mine"), Vec::new())), [ids[1], ids[0]]);
        assert_eq!(whole(&core, &filter(None, vec![State::Cancelled])), [ids[0]]);
        assert!(whole(&core, &filter(Some("none"), Vec::new())).is_empty());
        put(&mut core, "default", "mine", 3 * STRETCH);
        assert_eq!(whole(&core, &filter(Some("mine"), vec![State::Cancelled])), [ids[0]]);
    }

    #[test]
    fn one_look_is_bounded_and_the_next_goes_on() {
        let mut core = Core::new(limits(), 1);
        let ids = put(&mut core, "default", "q", 1_000);
        core.limits.tasks = 1_000_000;
        let more = put(&mut core, "default", "q", STRETCH);
        let mut none = filter(None, Vec::new());
        none.fits.kind = Some("other".into());
        let first = core.list(&none, Row::MAX);
        assert_eq!((first.tasks.len(), first.next), (0, Some(more[0])));
        let all = TaskFilter { fits: Fits::default(), ..filter(None, Vec::new()) };
        let page = core.list(&all, crate::core::row_of(more[0]));
        let found: Vec<_> = page.tasks.iter().map(Listed::id).collect();
        assert_eq!(found, ids.iter().rev().take(11).copied().collect::<Vec<_>>());
        assert_eq!(page.next, found.last().copied());
    }
}
