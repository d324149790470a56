//! When a lease is held for sure, whatever became of what is not known.

use super::{
    Rules,
    view::{Leased, View},
};
use crate::history::Operation;

/// True when a lease is held all the time while something else is asked and answered.
pub(super) fn held_through(view: &View<'_>, rules: &Rules, leased: &Leased<'_>, other: &Operation) -> bool {
    let given = leased.operation.end.is_some_and(|end| end.order < other.begin.order);
    given
        && !view.history.may_be_lost(leased.operation)
        && !ended_by_somebody(view, leased, other)
        && outlasts(view, rules, leased, other)
}

/// Whether somebody else may have ended a lease, or its task, before an answer.
fn ended_by_somebody(view: &View<'_>, leased: &Leased<'_>, other: &Operation) -> bool {
    let lease = &leased.grant.lease;
    let settled = view.settlements(lease).iter().map(|settling| settling.operation.begin.order);
    let removed = view.removals(&lease.id).iter().map(|removal| removal.begin.order);
    let removed = removed.filter(|order| *order != other.begin.order);
    let end = other.end.map_or(u64::MAX, |end| end.order);
    settled.chain(removed).any(|order| order < end)
}

/// Whether a lease has not ended by itself at an answer. One that may have a deadline may end at any time.
fn outlasts(view: &View<'_>, rules: &Rules, leased: &Leased<'_>, other: &Operation) -> bool {
    let id = leased.grant.lease.id.as_str();
    let unbound = view.stored.iter().any(|stored| stored.id == id && stored.job.deadline.is_none());
    let (begin, end) = (leased.operation.begin, other.end.unwrap_or(other.begin));
    let given = view.history.earliest(begin, leased.operation.end.unwrap_or(begin));
    unbound && view.history.latest(begin, end) < given + leased.duration - rules.clock_error
}
