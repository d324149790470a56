//! 10: shares converge to weights.

use std::collections::BTreeMap;

use super::{Rules, Violations, view::View};

/// Leases of which a share is taken; fewer say nothing.
const SAMPLE: usize = 200;

/// How far a share may be from its weight, of a hundred.
const TOLERANCE: usize = 10;

/// Group of each task whose group is known.
pub(super) fn groups<'a>(view: &View<'a>) -> BTreeMap<&'a str, &'a str> {
    let grouped = view.stored.iter().filter(|stored| !stored.job.group.is_empty());
    grouped.map(|stored| (stored.id, stored.job.group.as_str())).collect()
}

/// While every weighted group has work, leases go to them as their weights say.
pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
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
