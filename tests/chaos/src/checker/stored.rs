//! 1: what was acknowledged is there. 4: a task is in exactly one state. 7: same key, same task.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Rules, Violations,
    view::{Stored, View},
};
use crate::history::{Answer, Call, Level, State};

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    acknowledged_is_there(view, found);
    loss_is_a_suffix(view, found);
    settled_stays_settled(view, found);
    rest_is_drained(view, rules, found);
    one_state(view, found);
    same_key_same_task(view, found);
    one_holds_a_key(view, rules, found);
}

/// Whether what an enqueue was told may be gone.
fn excused(view: &View<'_>, stored: &Stored<'_>) -> bool {
    matches!(stored.level, Level::Memory | Level::Aof) && view.history.may_be_lost(stored.operation)
}

fn acknowledged_is_there(view: &View<'_>, found: &mut Violations) {
    for (id, told) in view.jobs() {
        let strict = told.iter().find(|stored| !excused(view, stored));
        if !view.kept.contains_key(id)
            && !view.may_be_purged(id)
            && let Some(stored) = strict
        {
            found.add(1, format!("task {id}, acknowledged as {:?}, is gone", stored.level));
        }
    }
}

/// Of two enqueues in one lossy span the later one may not survive the earlier.
fn loss_is_a_suffix(view: &View<'_>, found: &mut Violations) {
    for (from, at, until) in view.history.lossy() {
        let inside = |stored: &&Stored<'_>| {
            let end = stored.operation.end.map_or(u64::MAX, |end| end.order);
            let told = !stored.duplicate && end > from && stored.operation.begin.order < until;
            told && !view.may_be_purged(stored.id)
        };
        let (kept, gone): (Vec<&Stored<'_>>, Vec<&Stored<'_>>) =
            view.stored.iter().filter(inside).partition(|stored| view.kept.contains_key(stored.id));
        // What was told later may have been stored after the loss.
        let kept: Vec<_> =
            kept.iter().filter(|kept| kept.operation.end.is_some_and(|end| end.order < at)).collect();
        for lost in gone {
            if let Some(later) = kept.iter().find(|kept| lost.operation.precedes(kept.operation)) {
                found.add(1, format!("task {} was lost though {}, stored later, was not", lost.id, later.id));
            }
        }
    }
}

/// A completion that was acknowledged is what the task ended with.
fn settled_stays_settled(view: &View<'_>, found: &mut Violations) {
    for operation in &view.history.operations {
        let (Call::Settle(lease, _), Answer::Settled(state)) = (&operation.call, &operation.answer) else {
            continue;
        };
        let kept = view.kept.get(lease.id.as_str()).map(|task| task.state);
        let excused = view.may_be_purged(&lease.id) || view.history.may_be_lost(operation);
        if state.is_terminal() && kept != Some(*state) && !excused {
            found.add(1, format!("task {} was acknowledged as {state:?} and is {kept:?}", lease.id));
        }
    }
}

fn rest_is_drained(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let left = view.rest.tasks.iter().filter(|task| rules.drained && !task.state.is_terminal());
    for task in left {
        found.add(1, format!("task {} is still {:?} though workers went on", task.id, task.state));
    }
}

fn one_state(view: &View<'_>, found: &mut Violations) {
    let mut seen = BTreeSet::new();
    let mut listed: BTreeMap<State, u64> = BTreeMap::new();
    for task in &view.rest.tasks {
        if !seen.insert(&task.id) {
            found.add(4, format!("task {} is listed twice", task.id));
        }
        *listed.entry(task.state).or_default() += 1;
    }
    for (state, counted) in &view.rest.counted {
        let listed = listed.get(state).copied().unwrap_or(0);
        if listed != *counted {
            found.add(4, format!("{counted} tasks are counted as {state:?} and {listed} listed"));
        }
    }
    for (id, seen) in &view.seen {
        for (_, task) in seen {
            if (task.state == State::Completed) != task.result.is_some() {
                found.add(4, format!("task {id} is {:?} with the result {:?}", task.state, task.result));
            }
        }
    }
}

fn same_key_same_task(view: &View<'_>, found: &mut Violations) {
    let mut named: BTreeMap<(&str, &str), BTreeMap<&str, bool>> = BTreeMap::new();
    let mut made: BTreeMap<&str, u32> = BTreeMap::new();
    for stored in view.stored.iter().filter(|stored| !stored.job.key.is_empty()) {
        let lost = !view.kept.contains_key(stored.id) && excused(view, stored);
        let ids = named.entry((&stored.job.queue, &stored.job.key)).or_default();
        *ids.entry(stored.id).or_insert(true) &= lost;
        *made.entry(stored.id).or_default() += u32::from(!stored.duplicate);
    }
    for ((_, key), ids) in named {
        let ids: Vec<_> = ids.iter().filter(|(_, lost)| !**lost).map(|(id, _)| id).collect();
        if ids.len() > 1 {
            found.add(7, format!("key {key} named the tasks {ids:?}"));
        }
    }
    for (id, _) in made.iter().filter(|(_, times)| **times > 1) {
        found.add(7, format!("task {id} was said to be new twice"));
    }
    let mut kept: BTreeMap<&str, u32> = BTreeMap::new();
    for task in view.rest.tasks.iter().filter(|task| !task.key.is_empty()) {
        *kept.entry(&task.key).or_default() += 1;
    }
    for (key, tasks) in kept.iter().filter(|(_, tasks)| **tasks > 1) {
        found.add(7, format!("{tasks} tasks have the key {key}"));
    }
}

/// A unique key keeps others away for as long as the task that holds it surely lives.
fn one_holds_a_key(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let new = |stored: &&Stored<'_>| !stored.duplicate && !stored.job.unique.is_empty();
    let unique: Vec<&Stored<'_>> = view.stored.iter().filter(new).collect();
    for first in &unique {
        for second in &unique {
            let same = first.job.unique == second.job.unique && first.job.queue == second.job.queue;
            if same && first.operation.precedes(second.operation) && surely_lives(view, rules, first, second)
            {
                let key = &first.job.unique;
                found.add(7, format!("{} and {} hold the unique key {key}", first.id, second.id));
            }
        }
    }
}

/// Whether a task cannot have ended when another one was stored: it still waited for its time, and nobody ended it.
fn surely_lives(view: &View<'_>, rules: &Rules, first: &Stored<'_>, second: &Stored<'_>) -> bool {
    let end = second.operation.end.unwrap_or(second.operation.begin);
    let begin = first.operation.begin;
    let told = first.operation.end.unwrap_or(begin);
    let due = view.history.earliest(begin, told) + first.job.delay - rules.clock_error;
    let removed = view.removals(first.id).iter().any(|removal| removal.begin.order < end.order);
    let bound = first.job.deadline.is_some() || removed || view.history.may_be_lost(first.operation);
    !bound && view.history.latest(begin, end) < due
}
