//! 9: no more than may runs at once, or starts in a time; and nothing is held at rest.

use super::{
    Rules, Violations,
    groups::groups,
    held::held_through,
    view::{Leased, View},
};
use crate::history::{Answer, Call, Limits, Operation, State};

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for (queue, limits, from, until) in spans(view) {
        let leases = given(view, queue, from, until);
        running(view, rules, limits, &leases, found);
        started(view, rules, limits, &leases, found);
    }
    nothing_held_at_rest(view, rules, found);
}

/// Every span in which it is sure what a queue may let run: queue, limits, and the orders of its begin and end.
fn spans<'a>(view: &View<'a>) -> Vec<(&'a str, &'a Limits, u64, u64)> {
    let orders: Vec<&Operation> =
        view.history.operations.iter().filter(|other| matches!(other.call, Call::Limit(..))).collect();
    let mut spans = Vec::new();
    for order in &orders {
        let (Call::Limit(queue, limits), Answer::Done) = (&order.call, &order.answer) else { continue };
        let others = orders.iter().filter(|other| !std::ptr::eq(**other, *order));
        let mut others = others.filter(|other| matches!(&other.call, Call::Limit(of, _) if of == queue));
        let open = others.clone().any(|other| other.is_open() && other.begin.order < order.begin.order);
        let next = others.find(|other| !other.precedes(order)).map_or(u64::MAX, |other| other.begin.order);
        if let Some(end) = order.end.filter(|_| !open && !view.history.may_be_lost(order)) {
            spans.push((queue.as_str(), limits, end.order, next));
        }
    }
    spans
}

/// Leases of a queue that were asked for and given within a span, by token.
fn given<'a>(view: &View<'a>, queue: &str, from: u64, until: u64) -> Vec<Leased<'a>> {
    let within = |leased: &&Leased<'_>| {
        let end = leased.operation.end.map_or(u64::MAX, |end| end.order);
        let of = matches!(&leased.operation.call, Call::Lease { queue: of, .. } if of == queue);
        of && leased.operation.begin.order > from && end < until
    };
    let mut given: Vec<_> = view.leases.values().flatten().filter(within).copied().collect();
    given.sort_by_key(|leased| leased.grant.lease.token);
    given
}

/// A lease is given only while fewer are held than may be.
fn running(view: &View<'_>, rules: &Rules, limits: &Limits, leases: &[Leased<'_>], found: &mut Violations) {
    if limits.running.is_none() && limits.group_running.is_none() {
        return;
    }
    let groups = groups(view);
    let group = |leased: &Leased<'_>| groups.get(leased.grant.lease.id.as_str()).copied();
    let all: Vec<&Leased<'_>> = view.leases.values().flatten().collect();
    for leased in leases {
        let others = all.iter().filter(|other| held_through(view, rules, other, leased.operation));
        let held: Vec<&Leased<'_>> = others.copied().chain([leased]).collect();
        too_many(limits.running, &held, found);
        let same = held.into_iter().filter(|other| group(other) == group(leased)).collect::<Vec<_>>();
        too_many(limits.group_running.filter(|_| group(leased).is_some()), &same, found);
    }
}

fn too_many(limit: Option<u32>, held: &[&Leased<'_>], found: &mut Violations) {
    if let Some(limit) = limit.filter(|limit| held.len() > *limit as usize) {
        let ids: Vec<_> = held.iter().map(|leased| leased.grant.lease.id.as_str()).collect();
        found.add(9, format!("{} tasks ran at once and {limit} may: {}", ids.len(), ids.join(" ")));
    }
}

/// In any time no more leases are given than a full bucket holds, and what flows into it.
fn started(view: &View<'_>, rules: &Rules, limits: &Limits, leases: &[Leased<'_>], found: &mut Violations) {
    let Some((count, period)) = limits.rate else { return };
    let kept: Vec<_> = leases.iter().filter(|leased| !view.history.may_be_lost(leased.operation)).collect();
    let full = usize::try_from(count).unwrap_or(usize::MAX);
    for (at, first) in kept.iter().enumerate() {
        for (more, last) in kept[at..].iter().enumerate().skip(full).take(full + 1) {
            let end = last.operation.end.unwrap_or(last.operation.begin);
            let begin = first.operation.begin;
            let by_the_clock = view.history.latest(begin, end) - view.history.earliest(begin, end);
            let passed = by_the_clock + 2 * rules.clock_error;
            let flowed = passed.saturating_mul(i64::from(count)) / period.max(1) + 1;
            let most = full.saturating_add(usize::try_from(flowed).unwrap_or(0));
            if more + 1 > most {
                let id = &last.grant.lease.id;
                found.add(9, format!("{} tasks started in {passed} µs and {most} may: {id}", more + 1));
            }
        }
    }
}

fn nothing_held_at_rest(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let held = view.rest.counted.iter().filter(|(state, count)| *state == State::Leased && *count > 0);
    for (_, count) in held.filter(|_| rules.drained) {
        found.add(9, format!("{count} tasks are counted as held at rest"));
    }
}
