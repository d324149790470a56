//! 8: nothing starts before its time, or while paused. 10: waits are bounded. 13: expired leases are reclaimed.

use super::{
    Rules, Violations,
    view::{Leased, Stored, View},
};
use crate::history::{Answer, Call, Operation, Outcome, Snapshot, State};

pub(super) fn check(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    not_before_its_delay(view, rules, found);
    not_before_its_retry(view, rules, found);
    not_while_paused(view, found);
    not_after_its_deadline(view, rules, found);
    passed_over(view, rules, found);
    reclaimed(view, rules, found);
}

fn not_before_its_delay(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for (id, told) in view.jobs() {
        let Some(first) = told.iter().find(|stored| !stored.duplicate) else { continue };
        // A key may have been stored by an earlier call whose answer was lost.
        let asked =
            view.history.operations.iter().find(|other| makes(other, first)).unwrap_or(first.operation);
        for leased in view.leases.get(id).into_iter().flatten() {
            let end = leased.operation.end.unwrap_or(leased.operation.begin);
            let from = view.history.earliest(asked.begin, first.operation.end.unwrap_or(asked.begin));
            if view.history.latest(asked.begin, end) < from + first.job.delay - rules.clock_error {
                found.add(8, format!("task {id} was given before its time"));
            }
        }
    }
}

fn makes(operation: &Operation, stored: &Stored<'_>) -> bool {
    let Call::Enqueue(jobs) = &operation.call else { return false };
    !stored.job.key.is_empty()
        && jobs.iter().any(|job| job.key == stored.job.key && job.queue == stored.job.queue)
}

fn not_before_its_retry(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for (lease, settlements) in &view.settled {
        let Some(first) = settlements.first() else { continue };
        let (Outcome::Failed { retry_after: Some(rest), .. } | Outcome::Snoozed(rest)) = first.outcome else {
            continue;
        };
        let later = view.leases.get(lease.id.as_str()).into_iter().flatten();
        let all_alike = settlements.iter().all(|other| other.outcome == first.outcome);
        let took = settlements.iter().any(|other| matches!(other.operation.answer, Answer::Settled(_)));
        if !took || !all_alike || view.history.may_be_lost(first.operation) {
            continue;
        }
        for next in later.filter(|next| next.grant.lease.token > lease.token) {
            let end = next.operation.end.unwrap_or(next.operation.begin);
            let earliest = view.history.earliest(first.operation.begin, end) + rest - rules.clock_error;
            if view.history.latest(first.operation.begin, end) < earliest {
                found.add(8, format!("task {} was given again before its retry was due", lease.id));
            }
        }
    }
}

fn not_while_paused(view: &View<'_>, found: &mut Violations) {
    let done = |operation: &&Operation| operation.answer == Answer::Done;
    for pause in view.history.operations.iter().filter(done).filter(|pause| !view.history.may_be_lost(pause))
    {
        let Call::Pause(paused) = &pause.call else { continue };
        let resumes = |other: &&Operation| matches!(&other.call, Call::Resume(queue) if queue == paused);
        // One that was not answered may have its effect at any time.
        let later = |other: &&Operation| other.is_open() || !other.precedes(pause);
        let resumed = view.history.operations.iter().filter(resumes).find(later);
        let resumed = resumed.map_or(u64::MAX, |other| other.begin.order);
        for leased in view.leases.values().flatten() {
            let Call::Lease { queue, .. } = &leased.operation.call else { continue };
            let end = leased.operation.end.map_or(u64::MAX, |end| end.order);
            if queue == paused && pause.precedes(leased.operation) && end < resumed {
                found.add(8, format!("task {} was given while {paused} was paused", leased.grant.lease.id));
            }
        }
    }
}

/// What must complete by a time does not start after it.
fn not_after_its_deadline(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for stored in view.stored.iter().filter(|stored| !stored.duplicate) {
        let (Some(deadline), Some(told)) = (stored.job.deadline, stored.operation.end) else { continue };
        let last = view.history.latest(stored.operation.begin, told) + deadline + rules.clock_error;
        for leased in view.leases.get(stored.id).into_iter().flatten() {
            let (begin, end) =
                (leased.operation.begin, leased.operation.end.unwrap_or(leased.operation.begin));
            if view.history.earliest(begin, end) > last {
                found.add(8, format!("task {} was given after its deadline", stored.id));
            }
        }
    }
}

/// A task that was first in the order of its group and there all the time is given before one that comes after it.
fn passed_over(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    let Some(step) = rules.ageing_step else { return };
    let open = |operation: &Operation| matches!(operation.call, Call::Lease { .. }) && operation.is_open();
    if view.history.operations.iter().any(open) {
        // Who was given what is not known.
        return;
    }
    let firsts = firsts(view);
    for (early, given) in &firsts {
        for (late, passed) in &firsts {
            let stood =
                early.operation.precedes(passed.operation) && passed.operation.precedes(given.operation);
            let same = early.job.queue == late.job.queue && early.job.group == late.job.group;
            if stood && same && greatest_key(early, step) < least_key(late, step) {
                found.add(10, format!("task {} was given before {}", late.id, early.id));
            }
        }
    }
}

/// Tasks without delay or key, each with its first lease.
fn firsts<'a>(view: &View<'a>) -> Vec<(Stored<'a>, Leased<'a>)> {
    let plain = view.stored.iter().filter(|stored| {
        let job = stored.job;
        job.delay == 0 && job.key.is_empty() && job.unique.is_empty() && job.parents.is_empty()
    });
    let first = |stored: &Stored<'a>| {
        let leased = *view.leases.get(stored.id)?.first()?;
        (leased.grant.attempt == 1).then_some((*stored, leased))
    };
    plain.filter_map(first).collect()
}

fn penalty(stored: &Stored<'_>, step: i64) -> i64 {
    step * i64::from(9 - stored.job.priority.min(9))
}

fn greatest_key(stored: &Stored<'_>, step: i64) -> i64 {
    stored.operation.end.map_or(i64::MAX, |end| end.at + penalty(stored, step))
}

fn least_key(stored: &Stored<'_>, step: i64) -> i64 {
    stored.operation.begin.at + penalty(stored, step)
}

/// Nobody sees a task held long after its lease must have ended.
fn reclaimed(view: &View<'_>, rules: &Rules, found: &mut Violations) {
    for (id, seen) in &view.seen {
        let Some(leases) = view.leases.get(id) else { continue };
        for (read, task) in seen.iter().filter(|(_, task)| task.state == State::Leased) {
            let Some(leased) = holder(view, leases, read, task) else { continue };
            let Some(end) = must_end(view, leased, read) else { continue };
            if read.begin.at > end + rules.reclaim_within + rules.clock_error {
                found.add(13, format!("task {id} was still held by {}", leased.grant.lease.token));
            }
        }
    }
}

/// The lease that a task was seen under, when it is sure which: where one was lost, the attempt may be another's who
/// was not answered.
fn holder<'a, 'b>(
    view: &View<'a>,
    leases: &'b [Leased<'a>],
    read: &Operation,
    task: &Snapshot,
) -> Option<&'b Leased<'a>> {
    let mut same = leases.iter().filter(|leased| leased.grant.attempt == task.attempts);
    let only = same.next().filter(|_| same.next().is_none())?;
    let unsettled = view.settlements(&only.grant.lease).is_empty();
    let stands = !view.history.may_be_lost(only.operation);
    (unsettled && stands && only.operation.precedes(read)).then_some(only)
}

/// The latest time at which a lease ends, as seen when it was read; nothing when a heartbeat leaves it open.
fn must_end(view: &View<'_>, leased: &Leased<'_>, read: &Operation) -> Option<i64> {
    let latest =
        |operation: &Operation| view.history.latest(operation.begin, operation.end.unwrap_or(read.begin));
    let mut end = latest(leased.operation) + leased.duration;
    for (beat, held, duration) in view.heartbeats(&leased.grant.lease) {
        held.as_ref()?;
        end = end.max(latest(beat) + duration);
    }
    let answered = read.end.unwrap_or(read.begin).order;
    let restarts = view.history.restarts().filter(|at| at.order < answered);
    Some(restarts.map(|at| at.at + leased.duration).fold(end, i64::max))
}
