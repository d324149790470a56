//! The groups of a queue: whose turn it is.
//!
//! A group that has a ready task, and is at none of its limits, has a turn; the others are not looked at. Turns are
//! ordered by self-clocked fair queueing: a group's next turn comes a stride after the one that is served now, and
//! its stride is the shorter the greater its weight. So a group needs no memory of what it got before, one that
//! comes back gets no more than its share, and between two turns of a group each other one has a bounded number.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    core::{
        bucket::Bucket,
        entry::{Row, nobody},
        ready::{Order, Ready},
    },
    task::Micros,
};

/// Number of a group within its queue, for as long as the group has tasks.
pub(super) type Slot = u32;

/// The group without a name, which every queue has.
pub(super) const NAMELESS: Slot = 0;

/// Way from one turn to the next of a group of weight 1.
const STRIDE: u128 = 1 << 32;

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: Arc<str>,
    /// Its ready tasks.
    pub(super) ready: Ready,
    /// Tasks that have not ended.
    pub(super) live: u64,
    /// Tasks that are held.
    pub(super) running: u64,
    /// Its share; at least 1.
    pub(super) weight: u32,
    /// What it may start.
    pub(super) bucket: Bucket,
    /// Where it stands, and which of those that stand there came first.
    turn: Option<(u128, u64)>,
    oldest: Option<Micros>,
}

impl Group {
    fn new(name: Arc<str>, weight: u32) -> Self {
        Self {
            name,
            ready: Ready::default(),
            live: 0,
            running: 0,
            weight: weight.max(1),
            bucket: Bucket::default(),
            turn: None,
            oldest: None,
        }
    }

    /// True when it is among those that may start a task.
    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }
}

/// Every group that has tasks, or a bucket that is not full.
#[derive(Debug)]
pub(super) struct Groups {
    slots: Vec<Option<Box<Group>>>,
    free: Vec<Slot>,
    names: HashMap<Arc<str>, Slot>,
    turns: BTreeSet<(u128, u64, Slot)>,
    served: u128,
    arrivals: u64,
    oldest: BTreeSet<(Micros, Slot)>,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            slots: vec![Some(Box::new(Group::new(nobody(), 1)))],
            free: Vec::new(),
            names: HashMap::new(),
            turns: BTreeSet::new(),
            served: 0,
            arrivals: 0,
            oldest: BTreeSet::new(),
        }
    }
}

impl Groups {
    /// The group of a name; `weight` is asked when it is new.
    pub(super) fn join(&mut self, name: &str, weight: impl FnOnce() -> u32) -> Slot {
        if name.is_empty() {
            return NAMELESS;
        }
        if let Some(slot) = self.names.get(name) {
            return *slot;
        }
        let name: Arc<str> = name.into();
        let group = Some(Box::new(Group::new(Arc::clone(&name), weight())));
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = group;
            slot
        } else {
            self.slots.push(group);
            Slot::try_from(self.slots.len() - 1).expect("tasks are bounded far below, and groups by them")
        };
        self.names.insert(name, slot);
        slot
    }

    /// A group, unless it was dropped.
    pub(super) fn get(&mut self, slot: Slot) -> Option<&mut Group> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// The group of a task that lives.
    pub(super) fn at(&mut self, slot: Slot) -> &mut Group {
        self.get(slot).expect("a group stays while it has tasks")
    }

    /// One more than the greatest slot.
    pub(super) fn end(&self) -> Slot {
        Slot::try_from(self.slots.len()).unwrap_or(Slot::MAX)
    }

    /// The group whose turn it is.
    pub(super) fn first(&self) -> Option<Slot> {
        self.turns.first().map(|(.., slot)| *slot)
    }

    /// Gives a group a turn when it may start a task, or takes it away; true when it was given.
    pub(super) fn review(&mut self, slot: Slot, max_running: Option<u64>) -> bool {
        let group = self.at(slot);
        let may_start = group.ready.count > 0
            && !group.bucket.is_shut()
            && max_running.is_none_or(|limit| group.running < limit);
        match (may_start, group.turn.is_some()) {
            (true, false) => self.line_up(slot),
            (false, true) => self.step_out(slot),
            _ => return false,
        }
        may_start
    }

    fn line_up(&mut self, slot: Slot) {
        self.arrivals += 1;
        let (served, arrival) = (self.served, self.arrivals);
        let group = self.at(slot);
        let turn = served + STRIDE / u128::from(group.weight);
        group.turn = Some((turn, arrival));
        self.turns.insert((turn, arrival, slot));
    }

    fn step_out(&mut self, slot: Slot) {
        if let Some((turn, arrival)) = self.at(slot).turn.take() {
            self.turns.remove(&(turn, arrival, slot));
        }
    }

    /// Takes the next task of the group whose turn it is, which lines up again. A group alone need not.
    pub(super) fn take(&mut self, slot: Slot, order: Order) -> Option<Row> {
        let group = self.at(slot);
        let row = group.ready.pop(order)?;
        let turn = group.turn;
        if self.turns.len() > 1 {
            self.served = turn.map_or(self.served, |(turn, _)| turn);
            self.step_out(slot);
            self.line_up(slot);
        }
        self.note_oldest(slot);
        Some(row)
    }

    /// Gives a ready task its place.
    pub(super) fn push(&mut self, slot: Slot, priority: u8, ready_at: Micros, row: Row) {
        self.at(slot).ready.push(priority, ready_at, row);
        self.note_oldest(slot);
    }

    /// Takes the place of a task away that is ready no more.
    pub(super) fn pull(&mut self, slot: Slot, priority: u8, ready_at: Micros, row: Row) {
        self.at(slot).ready.remove(priority, ready_at, row);
        self.note_oldest(slot);
    }

    /// The name of a group that has tasks.
    pub(super) fn name(&self, slot: Slot) -> Arc<str> {
        let group = self.slots.get(slot as usize).and_then(Option::as_ref);
        group.map_or_else(nobody, |group| Arc::clone(&group.name))
    }

    /// Keeps the order of groups by their oldest task; the nameless one is asked when needed.
    fn note_oldest(&mut self, slot: Slot) {
        if slot == NAMELESS {
            return;
        }
        let group = self.at(slot);
        let oldest = group.ready.oldest();
        let before = std::mem::replace(&mut group.oldest, oldest);
        if before != oldest {
            if let Some(at) = before {
                self.oldest.remove(&(at, slot));
            }
            self.oldest.extend(oldest.map(|at| (at, slot)));
        }
    }

    /// When the oldest ready task of all became ready.
    pub(super) fn oldest(&self) -> Option<Micros> {
        let nameless = self.slots.first().and_then(Option::as_ref).and_then(|group| group.ready.oldest());
        nameless.into_iter().chain(self.oldest.first().map(|(at, _)| *at)).min()
    }

    /// Drops a group without tasks; the last gives back what the table of groups has grown to.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.step_out(slot);
        if let Some(at) = self.at(slot).oldest {
            self.oldest.remove(&(at, slot));
        }
        let Some(group) = self.slots[slot as usize].take() else { return };
        self.names.remove(&group.name);
        self.free.push(slot);
        if self.names.is_empty() {
            self.slots.truncate(1);
            self.slots.shrink_to_fit();
            (self.free, self.names) = (Vec::new(), HashMap::new());
        }
    }

    /// True when no group has a name.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many groups have a name.
    #[cfg(test)]
    pub(super) fn named(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDER: Order = Order::Strict;

    /// A group with ready tasks.
    fn busy(groups: &mut Groups, name: &str, weight: u32, tasks: u64) -> Slot {
        let slot = groups.join(name, || weight);
        for row in 0..tasks {
            groups.push(slot, 0, 0, row);
            groups.at(slot).ready.count += 1;
        }
        groups.review(slot, None);
        slot
    }

    fn serve(groups: &mut Groups) -> Slot {
        let slot = groups.first().unwrap();
        groups.take(slot, ORDER).unwrap();
        groups.at(slot).ready.count -= 1;
        groups.review(slot, None);
        slot
    }

    #[test]
    fn groups_of_equal_weight_take_turns() {
        let mut groups = Groups::default();
        let slots = ["a", "b", ""].map(|name| busy(&mut groups, name, 1, 100));
        for _ in 0..50 {
            assert_eq!(slots, [serve(&mut groups), serve(&mut groups), serve(&mut groups)]);
        }
    }

    #[test]
    fn a_group_that_comes_and_goes_gets_no_more_than_its_share() {
        let mut groups = Groups::default();
        let steady = busy(&mut groups, "steady", 1, 1_000);
        let mut served = 0;
        for _ in 0..1_000 {
            if groups.named() == 1 {
                busy(&mut groups, "guest", 1, 1);
            }
            let slot = serve(&mut groups);
            served += u32::from(slot == steady);
            if slot != steady {
                groups.remove(slot);
            }
        }
        assert!((499..=501).contains(&served), "{served}");
    }

    #[test]
    fn ever_new_groups_do_not_starve_one() {
        let mut groups = Groups::default();
        for guest in 0..5 {
            busy(&mut groups, &format!("early-{guest}"), 1, 1);
        }
        let steady = busy(&mut groups, "steady", 1, 10);
        let mut waited = 0;
        while serve(&mut groups) != steady {
            waited += 1;
            busy(&mut groups, &format!("late-{waited}"), 1, 1);
            busy(&mut groups, &format!("later-{waited}"), 1, 1);
        }
        assert_eq!(waited, 5, "only those that were there before");
    }

    #[test]
    fn a_group_without_tasks_leaves_memory() {
        let mut groups = Groups::default();
        let slots: Vec<Slot> = (0..1_000).map(|name| busy(&mut groups, &name.to_string(), 1, 1)).collect();
        assert_eq!(groups.named(), 1_000);
        slots.into_iter().for_each(|slot| groups.remove(slot));
        assert_eq!((groups.named(), groups.slots.capacity(), groups.turns.len()), (0, 1, 0));
        assert_eq!(groups.oldest(), None);
    }

    proptest! {
        #[test]
        fn shares_converge_to_weights(weights in proptest::collection::vec(1u32..=1_000, 2..12)) {
            let mut groups = Groups::default();
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let rounds = 2_000u64;
            let slots: Vec<Slot> = weights
                .iter()
                .enumerate()
                .map(|(name, weight)| busy(&mut groups, &format!("g{name}"), *weight, rounds))
                .collect();
            let mut served = vec![0u64; slots.len() + 1];
            for _ in 0..rounds {
                served[serve(&mut groups) as usize] += 1;
            }
            for (slot, weight) in slots.iter().zip(&weights) {
                let due = rounds * u64::from(*weight) / total;
                let got = served[*slot as usize];
                let most = weights.len() as u64;
                prop_assert!(got.abs_diff(due) <= most, "weight {weight} of {total} got {got} and not {due}");
            }
        }

        #[test]
        fn a_wait_for_a_turn_is_bounded_by_the_weights_of_the_others(
            weights in proptest::collection::vec(1u32..=20, 2..12),
        ) {
            let mut groups = Groups::default();
            let tasks = 1_000;
            for (name, weight) in weights.iter().enumerate() {
                busy(&mut groups, &format!("g{name}"), *weight, tasks);
            }
            let lowest = busy(&mut groups, "lowest", 1, tasks);
            let bound: u32 = weights.iter().map(|weight| weight + 1).sum();
            let mut waited = 0;
            for _ in 0..tasks {
                waited = if serve(&mut groups) == lowest { 0 } else { waited + 1 };
                prop_assert!(waited <= bound, "waited {waited} turns, more than {bound}");
            }
        }
    }
}
