//! Proofs of leases: the queue's word that nobody else is given a task before a time.
//!
//! A worker shows a proof to the daemons at which it changes something. So that no daemon takes one while another
//! worker may have the task, an expired task is handed on only once its last proof is over, and a margin besides: for
//! clocks that differ, and for the time that a write takes. What was told to follow a task that failed waits as long: a
//! task that is cancelled, say, ends at once, its proofs later. A worker that settles has given its word, and nothing
//! waits.
//!
//! Proofs are not written down. After a restart every lease counts as proven, and none can have been for longer than
//! [`LONGEST`] or than its lease lasts, which the grace after a restart only makes longer. Leases that the ledger has
//! lost are in [`proven`](crate::core::proven).

use std::time::Duration;

use crate::{
    core::{
        Core,
        entry::{Entry, Hold, Row},
        retention::Kept,
    },
    record::{LeaseRef, Proof, Status},
    task::{Failure, Micros, State, after, span},
};

/// Longest that a proof is good.
const LONGEST: Duration = nova_rpc::lease::LONGEST;

/// Time between the end of a proof and the next lease of its task.
const MARGIN: Duration = nova_rpc::lease::MARGIN;

/// When a task may be given to another whose last proof ends then.
pub(super) fn free_after(until: Micros) -> Micros {
    after(until, MARGIN)
}

impl Hold {
    /// When the task may be given to another, if this hold ends without its worker's word.
    pub(super) fn free_at(&self) -> Micros {
        self.proven_until.map_or(0, free_after)
    }
}

/// Why a task died without its worker's word: its last lease may have been proven.
const UNSETTLED: [&str; 3] = ["LEASE_EXPIRED", "ATTEMPT_TIMEOUT", "DEADLINE_EXCEEDED"];

fn is_unsettled(error: &Failure) -> bool {
    UNSETTLED.contains(&error.reason.as_str())
}

/// When no proof can be good any more of a task that ended at this time.
fn over_at(ended: Micros) -> Micros {
    free_after(after(ended, LONGEST))
}

/// When a dead task may live again.
pub(super) fn revivable_at(dead: &Status) -> Micros {
    let error = dead.last_error.as_deref().filter(|_| dead.attempts > 0);
    if error.is_some_and(is_unsettled) { over_at(dead.updated) } else { dead.updated }
}

impl Kept {
    /// Whether it ended with its worker's word.
    fn is_settled(&self) -> bool {
        match self.state {
            State::Completed => true,
            State::Dead => self.token != 0,
            _ => false,
        }
    }
}

impl Core {
    /// When what follows an ended task may start: not while a proof of its last lease is good, unless its worker has
    /// given its word.
    pub(super) fn followed_at(&self, ended: Row) -> Micros {
        let before_restart = self.retention.kept(ended).filter(|kept| kept.at < self.since);
        match before_restart.filter(|kept| !kept.is_settled()) {
            Some(kept) => over_at(kept.at),
            None => self.proven.until(ended).map_or(0, free_after),
        }
    }
}

impl Core {
    /// After a restart: takes a lease for proven, for as long as a proof of before can last.
    pub(super) fn assume_proven(&mut self, row: Row, entry: &mut Entry, expires: Micros, now: Micros) {
        let Some(hold) = &mut entry.hold else { return };
        let until = expires.min(after(now, LONGEST));
        hold.proven_until = Some(until);
        self.proven.note(row, entry.id, until, now);
    }

    /// Gives a word for each lease that is held: nothing for the others. No other worker is given the task while the
    /// word is good.
    pub fn prove(&mut self, namespace: &str, leases: &[LeaseRef], now: Micros) -> Vec<Option<Proof>> {
        leases.iter().map(|lease| self.prove_one(namespace, *lease, now)).collect()
    }

    fn prove_one(&mut self, namespace: &str, lease: LeaseRef, now: Micros) -> Option<Proof> {
        let row = self.held(namespace, lease)?;
        let mut entry = self.entries.take(row, &self.queues)?;
        // Not for longer than the grace after a restart, though a clock that went back makes leases last longer.
        let grace = entry.hold.as_ref().map_or(LONGEST, |hold| hold.duration);
        let until = entry.status.expires.min(after(now, LONGEST.min(grace)));
        // One that has expired is still held until it is taken back, but not for sure.
        let hold = entry.hold.as_mut().filter(|_| until > now);
        let proof = hold.map(|hold| {
            hold.proven_until = hold.proven_until.max(Some(until));
            self.proven.note(row, lease.id, hold.proven_until.unwrap_or(until), now);
            Proof { attempt: entry.status.attempts, until, duration: span(until - now) }
        });
        self.entries.put(row, entry);
        proof
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::{
        core::{
            model::{Disk, limits, task},
            restore::{Counters, KeptEnding, KeptTask},
        },
        mark::Mark,
        record::{Lease, LeaseRequest, NewTask, Outcome, Settled, Settlement, Spec, Task},
        terms::Terms,
    };

    const SECOND: Micros = 1_000_000;
    const NOW: Micros = 1_700_000_000 * SECOND;

    /// A core with one task, leased for a minute.
    fn leased() -> (Core, Lease) {
        let mut core = Core::new(limits(), 1);
        core.enqueue(vec![task(None, false, "")], NOW).unwrap();
        let lease = lease(&mut core, NOW).expect("a task is ready");
        (core, lease)
    }

    /// A core after a restart, that knows of one dead task.
    fn restarted(task: &Task, token: u64) -> Core {
        let mut core = Core::new(limits(), 1);
        let spec = Spec::clone(&task.spec);
        let kept = KeptTask { row: 1, id: task.id, spec, payload_len: 1, created: NOW, ready_at: NOW };
        let ending = KeptEnding { state: State::Dead, token, journal: 2, at: NOW, result_len: 0 };
        core.restore_task(kept, Some(ending)).unwrap();
        core.restored(Counters { last_token: 9, last_row: 1, last_entry: 2, floor: 0 }, NOW + SECOND);
        core
    }

    fn lease(core: &mut Core, now: Micros) -> Option<Lease> {
        core.tick(now);
        let request = LeaseRequest {
            namespace: "default".into(),
            queues: vec!["q".into()],
            worker: "w".into(),
            max: 1,
            duration: Duration::from_secs(60),
            wait: Duration::ZERO,
            stream: 0,
            mark: Mark::of("w"),
        };
        core.lease(&request, now).pop()
    }

    /// The same task in memory that knows of no lease, but of what was proven.
    fn without_leases(before: &mut Core) -> Core {
        let mut core = Core::new(limits(), 1);
        core.enqueue(vec![task(None, false, "")], NOW).unwrap();
        core.uphold(before.take_proven(), NOW);
        core
    }

    fn prove(core: &mut Core, lease: &Lease, now: Micros) -> Option<Proof> {
        core.prove("default", &[lease.refer()], now).pop().unwrap()
    }

    #[test]
    fn a_proof_ends_with_its_lease_or_before() {
        let (mut core, held) = leased();
        assert_eq!(prove(&mut core, &held, NOW).unwrap().until, NOW + 10 * SECOND);
        assert_eq!(prove(&mut core, &held, NOW + 55 * SECOND).unwrap().until, NOW + 60 * SECOND);
        assert_eq!(prove(&mut core, &held, NOW + 60 * SECOND), None);
    }

    #[test]
    fn a_lease_that_is_not_held_is_not_proven() {
        let (mut core, held) = leased();
        let refer = held.refer();
        let others = [
            LeaseRef { token: refer.token - 1, ..refer },
            LeaseRef { token: refer.token + 1, ..refer },
            LeaseRef { id: Uuid::nil(), ..refer },
            LeaseRef { mark: Mark::of("v"), ..refer },
        ];
        assert_eq!(core.prove("default", &others, NOW), [None, None, None, None]);
        assert_eq!(core.prove("other", &[refer], NOW), [None]);
    }

    #[test]
    fn an_expired_task_is_handed_on_only_after_its_proof_and_the_margin() {
        let (mut core, held) = leased();
        prove(&mut core, &held, NOW + 59 * SECOND).unwrap();
        // Its backoff is a second at most.
        for early in [60, 61] {
            assert!(lease(&mut core, NOW + early * SECOND).is_none(), "after {early} s");
        }
        assert!(lease(&mut core, NOW + 62 * SECOND).is_some());
    }

    #[test]
    fn a_task_that_was_never_proven_waits_for_nothing_but_its_backoff() {
        let (mut core, _) = leased();
        core.tick(NOW + 60 * SECOND);
        assert!(lease(&mut core, NOW + 61 * SECOND).is_some());
    }

    #[test]
    fn a_worker_that_settles_has_given_its_word() {
        let (mut core, held) = leased();
        prove(&mut core, &held, NOW).unwrap();
        let settlement = Settlement { lease: held.refer(), outcome: Outcome::Released };
        let settled = core.settle("default", &settlement, NOW);
        assert!(matches!(settled, Settled::Done { state: State::Ready, .. }));
        assert!(lease(&mut core, NOW).is_some());
    }

    /// A task that runs when another has ended, however it did.
    fn follower(of: &Lease) -> NewTask {
        let mut task = task(None, false, "");
        let terms = Terms { after: vec![of.task.id], run_after_failure: true, ..Terms::default() };
        task.spec.terms = Some(Box::new(terms));
        task
    }

    fn cancel(core: &mut Core, held: &Lease) {
        assert_eq!(core.cancel("default", &[held.task.id], "", NOW).len(), 1);
    }

    #[test]
    fn what_follows_a_cancelled_task_starts_only_after_its_proof_and_the_margin() {
        for late in [false, true] {
            let (mut core, held) = leased();
            prove(&mut core, &held, NOW).unwrap();
            if !late {
                core.enqueue(vec![follower(&held)], NOW).unwrap();
            }
            cancel(&mut core, &held);
            if late {
                core.enqueue(vec![follower(&held)], NOW).unwrap();
            }
            for early in [0, 11] {
                assert!(lease(&mut core, NOW + early * SECOND).is_none(), "after {early} s");
            }
            assert!(lease(&mut core, NOW + 12 * SECOND).is_some());
        }
    }

    #[test]
    fn what_follows_a_task_that_is_cancelled_after_a_restart_waits_for_any_proof_of_before() {
        let (mut core, held) = leased();
        core.enqueue(vec![follower(&held)], NOW).unwrap();
        let mut disk = Disk::default();
        disk.write(&core.take_batch(NOW));
        let mut again = disk.read(NOW);
        cancel(&mut again, &held);
        for early in [0, 11] {
            assert!(lease(&mut again, NOW + early * SECOND).is_none(), "after {early} s");
        }
        assert!(lease(&mut again, NOW + 12 * SECOND).is_some());
    }

    #[test]
    fn what_follows_a_cancelled_task_that_was_not_proven_waits_for_nothing() {
        let (mut core, held) = leased();
        core.enqueue(vec![follower(&held)], NOW).unwrap();
        cancel(&mut core, &held);
        assert!(lease(&mut core, NOW).is_some());
    }

    #[test]
    fn what_follows_a_task_that_its_worker_failed_waits_for_nothing() {
        let (mut core, held) = leased();
        prove(&mut core, &held, NOW).unwrap();
        core.enqueue(vec![follower(&held)], NOW).unwrap();
        let error = Failure { reason: "BROKEN".into(), ..Failure::released() };
        let outcome = Outcome::Failed { error, permanent: true, retry_after: None };
        core.settle("default", &Settlement { lease: held.refer(), outcome }, NOW);
        assert!(lease(&mut core, NOW).is_some());
    }

    #[test]
    fn what_follows_a_task_that_died_before_a_restart_waits_unless_its_worker_has_given_its_word() {
        let (_, held) = leased();
        for (token, waits) in [(0, true), (held.token, false)] {
            let mut core = restarted(&held.task, token);
            core.enqueue(vec![follower(&held)], NOW + SECOND).unwrap();
            assert_eq!(lease(&mut core, NOW + SECOND).is_none(), waits, "ended with {token}");
            if waits {
                assert!(lease(&mut core, NOW + 12 * SECOND).is_some());
            }
        }
    }

    #[test]
    fn a_dead_task_lives_again_only_after_any_proof_of_an_expired_lease() {
        let (mut core, _) = leased();
        let second = {
            core.tick(NOW + 60 * SECOND);
            lease(&mut core, NOW + 61 * SECOND).unwrap()
        };
        prove(&mut core, &second, NOW + 120 * SECOND).unwrap();
        let expired = NOW + 121 * SECOND;
        core.tick(expired);
        let mut dead = second.task.clone();
        dead.status.state = State::Dead;
        dead.status.updated = expired;
        dead.status.last_error = Some(Arc::new(Failure::expired()));
        assert_eq!(core.redrive(&[dead], expired), 1);
        assert!(lease(&mut core, expired + 11 * SECOND).is_none());
        assert!(lease(&mut core, expired + 12 * SECOND).is_some());
    }

    #[test]
    fn a_task_whose_lease_is_lost_waits_for_the_proof_of_it() {
        let (mut core, held) = leased();
        let until = prove(&mut core, &held, NOW).unwrap().until;
        let mut again = without_leases(&mut core);
        assert!(lease(&mut again, until + SECOND).is_none());
        assert_eq!(lease(&mut again, until + 2 * SECOND).map(|lease| lease.task.id), Some(held.task.id));
    }

    #[test]
    fn a_lost_lease_that_was_settled_is_waited_for_no_more() {
        let (mut core, held) = leased();
        prove(&mut core, &held, NOW).unwrap();
        core.settle("default", &Settlement { lease: held.refer(), outcome: Outcome::Released }, NOW);
        let mut again = without_leases(&mut core);
        assert!(lease(&mut again, NOW).is_some());
    }

    #[test]
    fn a_lost_lease_of_a_cancelled_task_is_waited_for() {
        let (mut core, held) = leased();
        prove(&mut core, &held, NOW).unwrap();
        core.cancel("default", &[held.task.id], "", NOW);
        let mut again = without_leases(&mut core);
        assert!(lease(&mut again, NOW).is_none());
    }

    #[test]
    fn a_clock_that_went_back_makes_no_proof_outlast_the_grace_after_a_restart() {
        let (mut core, held) = leased();
        let row = crate::core::entry::row_of(held.task.id);
        let mut entry = core.entries.take(row, &core.queues).unwrap();
        entry.hold.as_mut().unwrap().duration = Duration::from_secs(4);
        core.entries.put(row, entry);
        let proof = prove(&mut core, &held, NOW - 30 * SECOND).unwrap();
        assert_eq!(proof.duration, Duration::from_secs(4));
    }
}
