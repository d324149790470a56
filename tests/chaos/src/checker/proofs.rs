//! 2, beyond tokens: what is proven is given to nobody else, and what is held is not forgotten.

use super::{
    Rules, Violations,
    held::held_through,
    tokens::has_passed,
    view::{Leased, View},
};
use crate::history::{Answer, Call, Operation};

/// What the queue waits after the end of a proof, microseconds.
const MARGIN: i64 = 2_000_000;

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    proven_is_not_given(view, rules, found);
    held_is_not_forgotten(view, rules, found);
}

/// While a lease is proven, and a margin more, its task is given to nobody else.
fn proven_is_not_given(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for proof in &view.history.operations {
        let (Call::Prove(lease), Answer::Proven(Some(good))) = (&proof.call, &proof.answer) else { continue };
        let leases = view.leases.get(lease.id.as_str()).map_or(&[][..], Vec::as_slice);
        let lost = leases
            .iter()
            .any(|leased| leased.grant.lease == *lease && view.history.may_be_lost(leased.operation));
        // A failover that forgets a lease brings the one before it back: that may be proven again.
        let forgotten = |given: &Operation| given.precedes(proof) && view.history.may_be_lost(given);
        let later = |leased: &&Leased<'_>| leased.grant.lease.token > lease.token;
        let next = leases.iter().filter(later).find(|leased| !forgotten(leased.operation));
        let Some(next) = next.filter(|_| !lost) else { continue };
        let span = good + MARGIN - rules.clock_error;
        if !gave_its_word(view, proof, next) && !has_passed(view, proof, span, next.operation) {
            let (id, token) = (&lease.id, next.grant.lease.token);
            found.add(2, format!("task {id} was given with {token} while the lease before was proven"));
        }
    }
}

/// Whether whoever held a lease may have settled it before the next one was given.
fn gave_its_word(view: &View<'_>, proof: &Operation, next: &Leased<'_>) -> bool {
    let Call::Prove(lease) = &proof.call else { return false };
    let end = next.operation.end.map_or(u64::MAX, |end| end.order);
    let mut settled =
        view.settlements(lease).iter().filter(|settling| view.may_have_effect(settling.operation));
    settled.any(|settling| settling.operation.begin.order < end)
}

/// Nobody forgets a task that is held.
fn held_is_not_forgotten(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let purged = |operation: &&Operation| operation.answer == Answer::Removed(true);
    let purges = view.history.operations.iter().filter(purged);
    for (purge, id) in purges.filter_map(|other| match &other.call {
        Call::Purge(id) => Some((other, id.as_str())),
        _ => None,
    }) {
        for leased in view.leases.get(id).into_iter().flatten() {
            if held_through(view, rules, leased, purge) {
                found.add(2, format!("task {id} was forgotten while {} held it", leased.grant.lease.token));
            }
        }
    }
}
