//! 11: a child runs after its parents, once. 12: one firing for each tick.

use std::collections::BTreeMap;

use super::{Violations, view::View};
use crate::history::{Answer, Call, Outcome};

pub(super) fn check(view: &View<'_>, found: &mut Violations) {
    after_their_parents(view, found);
    fired_once(view, found);
}

fn after_their_parents(view: &View<'_>, found: &mut Violations) {
    for child in view.stored.iter().filter(|child| !child.duplicate) {
        for parent in &child.job.parents {
            let over = over_from(view, parent, child.job.after_failure);
            for leased in view.leases.get(child.id).into_iter().flatten() {
                if leased.operation.end.is_some_and(|end| end.order < over) {
                    found.add(11, format!("{} ran before its parent {parent} had ended", child.id));
                }
            }
        }
    }
}

/// The earliest order at which a task can have completed, or failed where that is enough.
fn over_from(view: &View<'_>, id: &str, after_failure: bool) -> u64 {
    let operations =
        view.history.operations.iter().filter(|operation| match (&operation.call, &operation.answer) {
            (Call::Settle(lease, Outcome::Completed(_)), Answer::Settled(_) | Answer::Unknown) => {
                lease.id == id
            }
            (Call::Cancel(of) | Call::Purge(of), _) => after_failure && of == id,
            // Its last attempt may expire, or its deadline pass, with nobody to tell.
            (Call::Lease { .. }, Answer::Given(grants)) => {
                after_failure && grants.iter().any(|grant| grant.lease.id == id)
            }
            (Call::Lease { .. }, Answer::Unknown) => after_failure,
            _ => false,
        });
    let bound = view.stored.iter().any(|stored| stored.id == id && stored.job.deadline.is_some());
    if bound && after_failure {
        return 0;
    }
    operations.map(|operation| operation.begin.order).min().unwrap_or(u64::MAX)
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
