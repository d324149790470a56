//! 11: a child runs after its parents, once. 12: one firing for each tick.

use std::collections::BTreeMap;

use super::{Violations, view::View};
use crate::history::{Answer, Call, State};

pub(super) fn check(view: &View<'_>, found: &mut Violations) {
    after_their_parents(view, found);
    fired_once(view, found);
}

fn after_their_parents(view: &View<'_>, found: &mut Violations) {
    let ids: BTreeMap<&str, &str> =
        view.stored.iter().map(|stored| (stored.job.key.as_str(), stored.id)).collect();
    for child in &view.stored {
        for parent in &child.job.parents {
            let Some(parent) = ids.get(parent.as_str()) else { continue };
            let completed = completed_from(view, parent);
            for leased in view.leases.get(child.id).into_iter().flatten() {
                if leased.operation.end.is_some_and(|end| end.order < completed) {
                    found.add(11, format!("{} ran before its parent {parent} had completed", child.id));
                }
            }
        }
    }
}

/// The earliest order at which a task can have completed.
fn completed_from(view: &View<'_>, id: &str) -> u64 {
    let completes =
        view.history.operations.iter().filter_map(|operation| match (&operation.call, &operation.answer) {
            (Call::Settle(lease, _), Answer::Settled(State::Completed) | Answer::Unknown)
                if lease.id == id =>
            {
                Some(operation.begin.order)
            }
            _ => None,
        });
    completes.min().unwrap_or(u64::MAX)
}

fn fired_once(view: &View<'_>, found: &mut Violations) {
    let mut fired: BTreeMap<&(String, i64), u32> = BTreeMap::new();
    for task in &view.rest.tasks {
        if let Some(firing) = &task.firing {
            *fired.entry(firing).or_default() += 1;
        }
    }
    for ((schedule, tick), times) in fired.iter().filter(|(_, times)| **times > 1) {
        found.add(12, format!("{schedule} fired {times} times for the tick {tick}"));
    }
}
