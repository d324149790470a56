//! 2: at most one valid token per task, and tokens grow. 3: a stale token has no effect.

use std::collections::BTreeMap;

use super::{
    Rules, Violations,
    view::{Leased, Settling, View},
};
use crate::history::{Answer, Call, Grant, Hold, Moment, Operation, Outcome};

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    given_once(view, found);
    grow(view, found);
    one_at_a_time(view, rules, found);
    stale_has_no_effect(view, found);
    refused_has_no_effect(view, found);
}

/// No token is ever given twice, whatever was lost.
fn given_once(view: &View<'_>, found: &mut Violations) {
    let mut given: BTreeMap<u64, &str> = BTreeMap::new();
    for leased in view.leases.values().flatten() {
        let lease = &leased.grant.lease;
        if let Some(before) = given.insert(lease.token, &lease.id) {
            found.add(2, format!("token {} was given for {before} and for {}", lease.token, lease.id));
        }
    }
}

/// A lease given later has a greater token, whatever was lost.
fn grow(view: &View<'_>, found: &mut Violations) {
    let mut ended: Vec<(u64, u64)> = Vec::new();
    let mut begun: Vec<(u64, u64)> = Vec::new();
    for operation in &view.history.operations {
        let Answer::Given(grants) = &operation.answer else { continue };
        let token = |grant: &Grant| grant.lease.token;
        let (Some(least), Some(greatest)) = (grants.iter().map(token).min(), grants.iter().map(token).max())
        else {
            continue;
        };
        begun.push((operation.begin.order, least));
        ended.extend(operation.end.map(|end| (end.order, greatest)));
    }
    ended.sort_unstable();
    let (mut ended, mut newest) = (ended.into_iter().peekable(), 0);
    for (order, least) in begun {
        while let Some((_, greatest)) = ended.next_if(|(end, _)| *end < order) {
            newest = newest.max(greatest);
        }
        if least <= newest {
            found.add(2, format!("token {least} was given after token {newest}"));
        }
    }
}

/// While a lease is held, its task is not given to anybody else.
fn one_at_a_time(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for leases in view.leases.values() {
        for pair in leases.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            let Some(end) = second.operation.end else { continue };
            let settled = view.settlements(&first.grant.lease).iter();
            let mut settled = settled.filter(|settling| view.may_have_effect(settling.operation));
            let ended = settled.any(|settling| settling.operation.begin.order < end.order);
            let expired = is_over(view, rules, first, second);
            if !ended && !expired && !view.history.may_be_lost(first.operation) {
                let (first, second) = (&first.grant.lease, &second.grant.lease);
                found.add(2, format!("{} has the tokens {} and {}", first.id, first.token, second.token));
            }
        }
    }
}

/// Whether a lease can have ended by itself when the next one was given, as far as its holder knew.
fn is_over(view: &View<'_>, rules: &Rules, lease: &Leased<'_>, next: &Leased<'_>) -> bool {
    let beats = view.heartbeats(&lease.grant.lease).iter();
    let beats = beats.filter(|(beat, held, _)| {
        *held == Some(true) && beat.precedes(next.operation) && !view.history.may_be_lost(beat)
    });
    let mut promises =
        beats.map(|(beat, _, duration)| (*beat, *duration)).chain([(lease.operation, lease.duration)]);
    promises
        .all(|(promise, duration)| has_passed(view, promise, duration - rules.clock_error, next.operation))
}

/// Whether a span from a call on can have passed when another had ended, by the clock or in truth.
pub(super) fn has_passed(view: &View<'_>, promise: &Operation, span: i64, next: &Operation) -> bool {
    let told = promise.end.unwrap_or(promise.begin);
    let end = next.end.unwrap_or(next.begin);
    let by_the_clock = view.history.latest(promise.begin, end) - view.history.earliest(promise.begin, told);
    // A restart counts from its own time on.
    let since = |at: &Moment| promise.begin.order < at.order && at.order < end.order;
    let mut restarts = view.history.restarts().filter(since);
    by_the_clock >= span
        || view.history.elapsed(promise.begin, end) >= span
        || restarts.any(|at| view.history.latest(at, end) - at.at >= span)
}

/// Once a newer lease was given, the older one settles and extends nothing.
fn stale_has_no_effect(view: &View<'_>, found: &mut Violations) {
    for leases in view.leases.values() {
        for (at, older) in leases.iter().enumerate() {
            let newer: Vec<_> =
                leases[at + 1..].iter().filter(|newer| !view.history.may_be_lost(newer.operation)).collect();
            for newer in newer {
                stale_settlements(view, &older.grant.lease, newer.operation, found);
                stale_heartbeats(view, &older.grant.lease, newer.operation, found);
            }
        }
    }
}

fn stale_settlements(view: &View<'_>, lease: &Hold, newer: &Operation, found: &mut Violations) {
    let all = view.settlements(lease);
    for stale in all.iter().filter(|settling| newer.precedes(settling.operation)) {
        let first = |other: &&Settling<'_>| {
            same_kind(other.outcome, stale.outcome)
                && view.may_have_effect(other.operation)
                && !newer.precedes(other.operation)
        };
        let repeats = all.iter().any(|other| first(&other));
        if matches!(stale.operation.answer, Answer::Settled(_)) && !repeats {
            let Hold { id, token } = lease;
            found.add(3, format!("token {token} of {id} settled it after a newer one was given"));
        }
    }
}

fn stale_heartbeats(view: &View<'_>, lease: &Hold, newer: &Operation, found: &mut Violations) {
    let stale = view.heartbeats(lease).iter();
    let mut stale = stale.filter(|(beat, held, _)| newer.precedes(beat) && *held == Some(true));
    if stale.next().is_some() {
        let Hold { id, token } = lease;
        found.add(3, format!("token {token} of {id} was extended after a newer one was given"));
    }
}

fn same_kind(left: &Outcome, right: &Outcome) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
}

/// What a task ended with was said by somebody who was not refused, and who held its newest lease.
fn refused_has_no_effect(view: &View<'_>, found: &mut Violations) {
    let mut said: BTreeMap<&str, Vec<(&Hold, &Operation)>> = BTreeMap::new();
    for operation in &view.history.operations {
        if let Call::Settle(lease, Outcome::Completed(result)) = &operation.call {
            said.entry(result).or_default().push((lease, operation));
        }
    }
    for task in &view.rest.tasks {
        let Some(result) = task.result.as_deref() else { continue };
        let by = said.get(result).map_or(&[][..], Vec::as_slice);
        let by: Vec<_> = by.iter().filter(|(lease, _)| lease.id == task.id).collect();
        let effective: Vec<_> = by.iter().filter(|(_, operation)| view.may_have_effect(operation)).collect();
        if effective.is_empty() {
            found.add(3, format!("{} ended with {result}, which nobody was let say", task.id));
        }
        let leases = view.leases.get(task.id.as_str()).map_or(&[][..], Vec::as_slice);
        let superseded = |leased: &&Leased<'_>| {
            let newer = |(lease, operation): &&&(&Hold, &Operation)| {
                leased.grant.lease.token > lease.token && leased.operation.precedes(operation)
            };
            !view.history.may_be_lost(leased.operation) && effective.iter().all(newer)
        };
        if !effective.is_empty() && leases.iter().any(|leased| superseded(&leased)) {
            found.add(3, format!("{} ended with {result}, said under a stale token", task.id));
        }
    }
}
