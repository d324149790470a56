//! 5: at most one terminal transition, and results are immutable. 6: attempts stay below their maximum.

use std::collections::BTreeMap;

use super::{
    Rules, Violations,
    view::{Leased, View},
};
use crate::history::{Answer, Call, Hold, Operation, Outcome, State};

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    ends_once(view, found);
    attempts_are_bounded(view, found);
    attempts_count(view, found);
    death_has_a_reason(view, rules, found);
}

/// Attempts that the producer of a task allowed, where that is known.
fn allowed(view: &View<'_>) -> BTreeMap<String, u32> {
    view.stored.iter().map(|stored| (stored.id.to_owned(), stored.job.max_attempts)).collect()
}

/// That a task had ended, as somebody was told.
struct Ending<'a> {
    id: &'a str,
    state: State,
    result: Option<&'a str>,
    operation: &'a Operation,
}

fn endings<'a>(view: &View<'a>) -> Vec<Ending<'a>> {
    let mut endings = Vec::new();
    for operation in &view.history.operations {
        match (&operation.call, &operation.answer) {
            (Call::Settle(lease, outcome), Answer::Settled(state)) if state.is_terminal() => {
                let result = match outcome {
                    Outcome::Completed(result) => Some(result.as_str()),
                    Outcome::Failed { .. } | Outcome::Released | Outcome::Snoozed(_) => None,
                };
                endings.push(Ending { id: &lease.id, state: *state, result, operation });
            }
            (Call::Cancel(id), Answer::Removed(true)) => {
                endings.push(Ending { id, state: State::Cancelled, result: None, operation });
            }
            (Call::Read(id), Answer::Seen(Some(task))) if task.state.is_terminal() => {
                let result = task.result.as_deref();
                endings.push(Ending { id, state: task.state, result, operation });
            }
            _ => {}
        }
    }
    endings.retain(|ending| !view.history.may_be_lost(ending.operation));
    endings
}

fn ends_once(view: &View<'_>, found: &mut Violations) {
    for ending in endings(view) {
        let id = ending.id;
        let kept = view.kept.get(id).map(|task| (task.state, task.result.as_deref()));
        if kept.is_some_and(|kept| kept != (ending.state, ending.result)) {
            let told = (ending.state, ending.result);
            found.add(5, format!("task {id} had ended as {told:?} and ended again as {kept:?}"));
        }
        let leases = view.leases.get(id).map_or(&[][..], Vec::as_slice);
        for leased in leases.iter().filter(|leased| ending.operation.precedes(leased.operation)) {
            found
                .add(5, format!("task {id} had ended and was given again with {}", leased.grant.lease.token));
        }
        let seen = view.seen.get(id).map_or(&[][..], Vec::as_slice);
        let seen = seen.iter().filter(|(read, _)| !view.history.may_be_stale(read));
        for (_, task) in seen.filter(|(read, _)| ending.operation.precedes(read)) {
            if (task.state, task.result.as_deref()) != (ending.state, ending.result) {
                found.add(
                    5,
                    format!("task {id} had ended as {:?} and was seen as {:?}", ending.state, task.state),
                );
            }
        }
    }
}

fn attempts_are_bounded(view: &View<'_>, found: &mut Violations) {
    let leases = view.leases.values().flatten().map(|leased| leased.grant);
    let given = leases.map(|grant| (&grant.lease.id, grant.attempt, grant.max_attempts));
    let seen = view.seen.values().flatten().map(|(_, task)| *task).chain(&view.rest.tasks);
    let seen = seen.map(|task| (&task.id, task.attempts, task.max_attempts));
    let allowed = allowed(view);
    for (id, attempts, max) in given.chain(seen) {
        let max = allowed.get(id).unwrap_or(&max);
        if attempts <= *max {
            continue;
        }
        found.add(6, format!("task {id} began {attempts} attempts of {max}"));
    }
}

/// Each lease is the next attempt, unless the one before it was handed back unstarted.
fn attempts_count(view: &View<'_>, found: &mut Violations) {
    for leases in view.leases.values() {
        for pair in leases.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            let released = released(view, &first.grant.lease);
            if second.grant.attempt <= first.grant.attempt && !released && !forgotten(view, &first) {
                let (id, attempt) = (&second.grant.lease.id, second.grant.attempt);
                found.add(6, format!("attempt {attempt} of {id} was given after {}", first.grant.attempt));
            }
        }
    }
}

fn released(view: &View<'_>, lease: &Hold) -> bool {
    let mut settlements =
        view.settlements(lease).iter().filter(|settling| view.may_have_effect(settling.operation));
    settlements.any(|settling| matches!(settling.outcome, Outcome::Released | Outcome::Snoozed(_)))
}

fn forgotten(view: &View<'_>, leased: &Leased<'_>) -> bool {
    view.history.may_be_lost(leased.operation)
}

fn death_has_a_reason(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let unbound =
        |id: &str| view.stored.iter().any(|stored| stored.id == id && stored.job.deadline.is_none());
    for task in view.rest.tasks.iter().filter(|task| task.state == State::Dead && rules.drained) {
        let permanent =
            view.settled.iter().filter(|(lease, _)| lease.id == task.id).any(|(_, settlements)| {
                let effective =
                    settlements.iter().filter(|settling| view.may_have_effect(settling.operation));
                let mut outcomes = effective.map(|settling| settling.outcome);
                outcomes.any(|outcome| matches!(outcome, Outcome::Failed { permanent: true, .. }))
            });
        let overdue = task.reason == "DEADLINE_EXCEEDED" && !unbound(&task.id);
        if task.attempts < task.max_attempts && !permanent && !overdue {
            let (id, attempts, max) = (&task.id, task.attempts, task.max_attempts);
            found.add(6, format!("task {id} died after {attempts} attempts of {max}"));
        }
    }
}
