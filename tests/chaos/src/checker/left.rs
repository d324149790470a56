//! 1, of what attempts leave: the next attempt is given the last checkpoint that was acknowledged.

use super::{
    Violations,
    view::{Leased, View},
};
use crate::history::{Answer, Call, Operation};

pub(super) fn check(view: &View<'_>, found: &mut Violations) {
    for (id, leases) in &view.leases {
        let reports = reports(view, id);
        for leased in leases.iter().filter(|_| !reports.is_empty()) {
            if !may_be_given(view, &reports, leased) {
                let (token, given) = (leased.grant.lease.token, &leased.grant.checkpoint);
                found.add(1, format!("the checkpoint of {id} was lost: {token} was given {given:?}"));
            }
        }
    }
}

/// What was left for the next attempt of a task, in order.
fn reports<'a>(view: &View<'a>, id: &str) -> Vec<(&'a str, &'a Operation)> {
    let all = view.history.operations.iter().filter_map(|operation| match &operation.call {
        Call::Report(lease, left, _) if lease.id == id => Some((left.as_str(), operation)),
        _ => None,
    });
    all.collect()
}

/// Whether no acknowledged report lies surely between the one that was given and the lease.
fn may_be_given(view: &View<'_>, reports: &[(&str, &Operation)], leased: &Leased<'_>) -> bool {
    let taken = |report: &Operation| report.answer == Answer::Extended(vec![true]);
    let stands = |report: &Operation| taken(report) && !view.history.may_be_lost(report);
    let last = reports.iter().rfind(|(_, report)| stands(report) && report.precedes(leased.operation));
    let Some((left, last)) = last else { return true };
    let Some(given) = leased.grant.checkpoint.as_deref() else { return false };
    let later = |(text, report): &(&str, &Operation)| *text == given && !report.precedes(last);
    given == *left || reports.iter().any(later)
}
