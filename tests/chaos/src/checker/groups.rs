//! 9: running per group within its limit, and nothing held at rest. 10: shares converge to weights.

use std::collections::BTreeMap;

use super::{
    Rules, Violations,
    view::{Leased, View},
};
use crate::history::State;

/// Leases of which a share is taken; fewer say nothing.
const SAMPLE: usize = 200;

/// How far a share may be from its weight, of a hundred.
const TOLERANCE: usize = 10;

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    within_limits(view, rules, found);
    nothing_held_at_rest(view, rules, found);
    shares(view, rules, found);
}

/// Group of each task whose group is known.
fn groups<'a>(view: &View<'a>) -> BTreeMap<&'a str, &'a str> {
    let grouped = view.stored.iter().filter(|stored| !stored.job.group.is_empty());
    grouped.map(|stored| (stored.id, stored.job.group.as_str())).collect()
}

/// At no moment are more leases of a group surely held than may be.
fn within_limits(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    if rules.limits.is_empty() {
        return;
    }
    let groups = groups(view);
    let mut moves: BTreeMap<&str, Vec<(u64, i32)>> = BTreeMap::new();
    for leased in view.leases.values().flatten() {
        let Some(group) = groups.get(leased.grant.lease.id.as_str()) else { continue };
        if let Some((from, until)) = surely_held(view, leased) {
            moves.entry(group).or_default().extend([(from, 1), (until, -1)]);
        }
    }
    for (group, mut moves) in moves {
        moves.sort_unstable();
        let Some(limit) = rules.limits.get(group) else { continue };
        let mut running = 0;
        let most = moves.iter().map(|(_, by)| {
            running += by;
            running
        });
        let most = usize::try_from(most.max().unwrap_or(0)).unwrap_or(0);
        if most > *limit {
            found.add(9, format!("{most} tasks of {group} ran at once and {limit} may"));
        }
    }
}

/// Orders between which a lease is held for sure: from its answer to its settlement, or its first possible end.
fn surely_held(view: &View<'_>, leased: &Leased<'_>) -> Option<(u64, u64)> {
    let from = leased.operation.end?.order;
    let settled =
        view.settlements(&leased.grant.lease).iter().map(|settling| settling.operation.begin.order).min();
    let ends = leased.operation.begin.at + leased.duration;
    let expires = view.history.operations.iter().find(|other| other.begin.at >= ends);
    let expires = expires.map_or(u64::MAX, |other| other.begin.order);
    let until = settled.unwrap_or(u64::MAX).min(expires);
    (until > from).then_some((from, until))
}

fn nothing_held_at_rest(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let held = view.rest.counted.iter().filter(|(state, count)| *state == State::Leased && *count > 0);
    for (_, count) in held.filter(|_| rules.drained) {
        found.add(9, format!("{count} tasks are counted as held at rest"));
    }
}

/// While every weighted group has work, leases go to them as their weights say.
fn shares(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let groups = groups(view);
    let mut given: BTreeMap<&str, usize> = BTreeMap::new();
    let mut leases: Vec<_> = view.leases.values().flatten().collect();
    leases.sort_by_key(|leased| leased.grant.lease.token);
    for leased in leases.iter().take(SAMPLE) {
        if let Some(group) = groups.get(leased.grant.lease.id.as_str()) {
            *given.entry(group).or_default() += 1;
        }
    }
    let (all, weights) = (given.values().sum::<usize>(), rules.weights.values().sum::<u32>() as usize);
    for (group, weight) in rules.weights.iter().filter(|_| all >= SAMPLE) {
        let (got, due) = (given.get(group.as_str()).copied().unwrap_or(0), all * *weight as usize / weights);
        if got.abs_diff(due) * 100 > TOLERANCE * all {
            found.add(10, format!("{group} was given {got} of {all} leases and is due {due}"));
        }
    }
}
