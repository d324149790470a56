//! Ending leases: settlements by workers, and leases that expire.

use std::sync::Arc;

use crate::{
    core::{
        Core,
        batch::{Change, Finished},
        entry::{Ending, Entry, Row, nobody},
        report::note_attempt,
    },
    record::{LeaseRef, Outcome, Settled, Settlement},
    task::{Event, Failure, Micros, State, Verdict, after, verdict},
    trail::Trail,
};

impl Core {
    /// Ends one lease. A settlement that was made before, with the same token, gets the first answer for as long as the
    /// task is kept.
    pub fn settle(&mut self, namespace: &str, settlement: &Settlement, now: Micros) -> Settled {
        let lease = settlement.lease;
        let Some(row) = self.held(namespace, lease) else {
            return self.repeated(namespace, lease, &settlement.outcome);
        };
        self.proven.forget(row);
        match &settlement.outcome {
            Outcome::Completed(result) => {
                self.finish(row, Event::Complete, Some(Arc::clone(result)), None, now)
            }
            Outcome::Released => self.release(row, None, now),
            Outcome::Snoozed(delay) => self.release(row, Some(after(now, *delay)), now),
            Outcome::Failed { error, permanent, retry_after } => {
                let jitter = self.jitter();
                let next = self.entry(row).map(|entry| {
                    let retry = &entry.spec.retry;
                    verdict(retry, entry.status.attempts, *permanent, *retry_after, now, jitter)
                });
                self.end_attempt(row, next, error.clone(), Ending::Failed, now)
            }
        }
    }

    fn repeated(&self, namespace: &str, lease: LeaseRef, outcome: &Outcome) -> Settled {
        if let Some(ended) = self.retention.ended_by(lease).filter(|ended| ends_as(outcome, ended.state)) {
            return Settled::Done { state: ended.state, ready_at: ended.at };
        }
        let Some(entry) = self.live(namespace, lease.id) else { return Settled::Lost };
        let (token, state) = match (entry.settled, outcome) {
            (Some((token, Ending::Failed)), Outcome::Failed { .. }) => (token, State::Waiting),
            (Some((token, Ending::Released)), Outcome::Released) => (token, State::Ready),
            (Some((token, Ending::Released)), Outcome::Snoozed(_)) => (token, State::Waiting),
            _ => return Settled::Lost,
        };
        if token != lease.token {
            return Settled::Lost;
        }
        Settled::Done { state, ready_at: entry.status.ready_at }
    }

    /// Takes back an expired lease, unless a heartbeat extended it.
    pub(super) fn reclaim(&mut self, row: Row, now: Micros) {
        let Some(mut entry) = self.entries.take(row, &self.queues) else { return };
        if entry.status.expires > now {
            self.watch(row, &mut entry);
            return self.entries.put(row, entry);
        }
        self.entries.put(row, entry);
        let Some(entry) = self.entry(row) else { return };
        let Some(hold) = entry.hold.as_ref() else { return };
        let timed_out = hold.deadline.is_some_and(|deadline| deadline <= now);
        let timeout = entry.spec.attempt_timeout.filter(|_| timed_out);
        let (retry, attempts, free_at) = (entry.spec.retry, entry.status.attempts, hold.free_at());
        let jitter = self.jitter();
        let next = match verdict(&retry, attempts, false, None, now, jitter) {
            Verdict::RetryAt(at) => Verdict::RetryAt(at.max(free_at)),
            Verdict::Dead => Verdict::Dead,
        };
        let error = timeout.map_or_else(Failure::expired, Failure::timed_out);
        self.end_attempt(row, Some(next), error, Ending::Expired, now);
    }

    fn end_attempt(
        &mut self,
        row: Row,
        next: Option<Verdict>,
        error: Failure,
        ending: Ending,
        now: Micros,
    ) -> Settled {
        if let Some(queue) = self.entry(row).map(|entry| entry.queue) {
            let counts = &mut self.queues.at(queue).performance.counts;
            match ending {
                Ending::Expired => counts.expired += 1,
                Ending::Failed | Ending::Released => counts.failed += 1,
            }
        }
        let last = if matches!(ending, Ending::Expired) { Event::Expire } else { Event::Exhaust };
        match next {
            Some(Verdict::RetryAt(at)) => {
                let error = Arc::new(error);
                let state = self.apply(row, Event::Retry, now, |entry| {
                    note_attempt(entry, Some(Arc::clone(&error)), now);
                    drop_hold(entry, ending);
                    entry.status.ready_at = at;
                    entry.status.last_error = Some(error);
                });
                state.map_or(Settled::Lost, |state| Settled::Done { state, ready_at: at })
            }
            Some(Verdict::Dead) => self.finish(row, last, None, Some(error), now),
            None => Settled::Lost,
        }
    }

    /// Takes an unstarted lease back; with `until` the task waits till then.
    fn release(&mut self, row: Row, until: Option<Micros>, now: Micros) -> Settled {
        let event = if until.is_some() { Event::Snooze } else { Event::Release };
        let state = self.apply(row, event, now, |entry| {
            note_attempt(entry, Some(Arc::new(Failure::released())), now);
            drop_hold(entry, Ending::Released);
            entry.status.attempts = entry.status.attempts.saturating_sub(1);
            entry.status.ready_at = until.unwrap_or(entry.status.ready_at);
        });
        let ready_at = self.entry(row).map_or(now, |entry| entry.status.ready_at);
        state.map_or(Settled::Lost, |state| Settled::Done { state, ready_at })
    }

    /// Ends a task for good: it leaves memory, and its ending goes to the store.
    pub(super) fn finish(
        &mut self,
        row: Row,
        event: Event,
        result: Option<Arc<[u8]>>,
        error: Option<Failure>,
        now: Micros,
    ) -> Settled {
        let Some(mut entry) = self.entries.take(row, &self.queues) else { return Settled::Lost };
        let Some(state) = crate::task::next(entry.status.state, event) else {
            self.entries.put(row, entry);
            return Settled::Lost;
        };
        self.entries.remove(row);
        let token = entry.hold.as_ref().filter(|_| !event.is_of_time()).map_or(0, |hold| hold.token);
        self.uncache(&mut entry);
        self.queues.enter(entry.queue, entry.slot, state);
        self.queues.at(entry.queue).performance.ended(state, entry.status.updated, now);
        self.leave(row, &mut entry);
        let error = error.map(Arc::new);
        note_attempt(&mut entry, error.clone(), now);
        if error.is_some() {
            entry.status.last_error = error;
        }
        entry.status.state = state;
        entry.status.updated = now;
        self.holders.moved(entry.holder(), None);
        drop_hold(&mut entry, Ending::Failed);
        self.drop_checkpoint(row, &entry);
        entry.status.trail = Trail::ended(entry.status.trail.take());
        self.retention.journaled -= usize::from(entry.journal != 0);
        self.batch.finished.push(ending(row, &entry, token, self.next_entry, result.clone(), now));
        self.keep_ended(row, &entry, token, result.as_ref().map_or(0, |result| result.len()), now);
        let change = Change { result, ..Change::of(row, &entry, true) };
        self.next_entry += 1;
        self.batch.changes.push(change);
        self.tell_children(row, state);
        Settled::Done { state, ready_at: now }
    }
}

impl Core {
    /// Lets a task that lives no more go out of its queue and its group, and takes back what it is bound to.
    pub(super) fn leave(&mut self, row: Row, entry: &mut Entry) {
        self.displace(row, entry);
        self.queues.at(entry.queue).members.remove(row, entry.status.state);
        self.queues.leave(entry.queue, entry.slot, entry.status.state);
        self.queues.retire(entry.queue, entry.slot);
        if entry.spec.terms.is_some() {
            self.deadlines.remove(row, entry);
            self.unlock(entry);
            self.unbind(row, entry);
        }
    }
}

fn ending(
    row: Row,
    entry: &Entry,
    token: u64,
    journal: u64,
    result: Option<Arc<[u8]>>,
    at: Micros,
) -> Finished {
    Finished {
        row,
        id: entry.id,
        state: entry.status.state,
        token,
        attempts: entry.status.attempts,
        journal,
        at,
        result,
        error: entry.status.last_error.clone(),
        trail: entry.status.trail.clone(),
    }
}

fn drop_hold(entry: &mut Entry, ending: Ending) {
    entry.settled = entry.hold.take().map(|hold| (hold.token, ending));
    entry.status.worker = nobody();
    entry.status.expires = 0;
}

/// True when an outcome can have led to `state`.
pub fn ends_as(outcome: &Outcome, state: State) -> bool {
    match outcome {
        Outcome::Completed(_) => state == State::Completed,
        Outcome::Failed { .. } => state == State::Dead,
        Outcome::Released | Outcome::Snoozed(_) => false,
    }
}
