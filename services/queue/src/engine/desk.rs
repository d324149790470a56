//! The engine's desk: takes calls as they come, and decides them in memory.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Parts, Round,
    answer::Answer,
    inbox::{Charge, Command, Outlet, Posted, Reply},
    parked::Parked,
};
use crate::{
    core::{Core, batch::Batch},
    error::Error,
    record::{Beat, Cursor, Lease, LeaseRef, LeaseRequest, Outcome, Report, Settlement, Task, TaskEvent},
    task::{Failure, Micros, span},
};

/// Most calls of each lane that are taken at once.
const GATHER: usize = 1_024;

/// Bytes of new tasks after which no more are taken: under a flood workers wait no longer for theirs.
const GATHER_BYTES: usize = 256 << 10;

/// Longest sleep, so that a clock that jumps is noticed.
const NAP: Duration = Duration::from_millis(500);

/// A turn that takes this long longer than a sleep may is an outage: the ledger was away, or this process was stopped.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Memory, and who waits for what it decides.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) parts: &'a mut Parts,
    core: Core,
    parked: Parked,
    answers: Vec<Answer>,
    charges: Vec<Charge>,
    posted: Vec<Posted>,
    /// What must be added to the daemon's clock to get the ledger's.
    offset: Micros,
    /// When calls were last taken.
    heard: Instant,
}

impl<'a> Desk<'a> {
    /// A desk over what the ledger holds.
    pub(super) fn new(parts: &'a mut Parts, core: Core, offset: Micros) -> Self {
        let parked = Parked::new(parts.waiting_leases);
        let mut desk = Self {
            parts,
            core,
            parked,
            answers: Vec::new(),
            charges: Vec::new(),
            posted: Vec::with_capacity(3 * GATHER),
            offset,
            heard: Instant::now(),
        };
        desk.began();
        desk
    }

    /// Memory was built again from the ledger. What was being written may stand after all: watches read on from there.
    pub(super) fn replace(&mut self, core: Core, offset: Micros) {
        (self.core, self.offset) = (core, offset);
        self.began();
    }

    fn began(&mut self) {
        self.parts.ring.reset(self.core.head(), self.core.floor());
        self.parts.awaited.tell_all();
        let (proven, now) = (std::mem::take(&mut self.parts.proven), self.now());
        self.core.uphold(proven.on_clock(self.offset), now);
    }

    /// True when there is nothing to write, and nobody to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.answers.is_empty() && !self.core.has_changes()
    }

    /// Waits for a call or a time, and decides; false when all callers are gone.
    pub(super) async fn hear(&mut self) -> bool {
        let nap = self.nap();
        let Outlet { settlements, calls, tasks } = &mut self.parts.outlet;
        let first = tokio::select! {
            biased;
            first = settlements.recv() => first.map(Some),
            first = calls.recv() => first.map(Some),
            first = tasks.recv() => first.map(Some),
            () = sleep(nap) => Some(None),
        };
        let open = first.is_some();
        self.posted.extend(first.flatten());
        self.hear_more();
        open
    }

    /// Decides what has come, without waiting for more.
    pub(super) fn hear_more(&mut self) {
        self.gather();
        let now = self.now();
        if self.heard.elapsed() > NAP + STANDSTILL {
            // An outage burns no attempt: heartbeats of meanwhile are among the calls that now come.
            self.core.forgive(now);
        }
        self.heard = Instant::now();
        self.core.tick(now);
        for Posted { command, charge } in std::mem::take(&mut self.posted) {
            self.charges.push(charge);
            self.take(command, now);
        }
        self.core.cascade(now);
        self.serve_parked(now);
    }

    /// Takes what has come.
    fn gather(&mut self) {
        let Outlet { settlements, calls, tasks } = &mut self.parts.outlet;
        for (lane, most) in [(settlements, usize::MAX), (calls, usize::MAX), (tasks, GATHER_BYTES)] {
            let mut bytes = 0;
            for _ in 0..GATHER {
                let Some(next) = (bytes < most).then(|| lane.try_recv().ok()).flatten() else { break };
                bytes += next.charge.bytes();
                self.posted.push(next);
            }
        }
    }

    fn now(&self) -> Micros {
        self.parts.clock.now().micros() + self.offset
    }

    fn nap(&self) -> Duration {
        let next = self.core.next_tick().into_iter().chain(self.parked.next_late()).min();
        next.map_or(NAP, |at| span(at - self.now()).min(NAP))
    }

    fn take(&mut self, command: Command, now: Micros) {
        match command {
            Command::Enqueue(lease, tasks, reply) => {
                let held = lease.map_or(Ok(()), |(namespace, lease)| self.core.check_held(&namespace, lease));
                let receipts = held.and_then(|()| self.core.enqueue(tasks, now));
                self.answers.push(Answer::Receipts(reply, receipts));
            }
            Command::Lease(request, reply) => self.lease(request, reply, now),
            Command::Heartbeat(namespace, leases, reports, duration, reply) => {
                let beats = self.heartbeat(&namespace, &leases, &reports, duration, now);
                self.answers.push(Answer::Beats(reply, Ok(beats)));
            }
            Command::Settle(namespace, settlements, reply) => {
                let settle = |settlement| self.core.settle(&namespace, settlement, now);
                let settled = settlements.iter().map(settle).collect();
                self.answers.push(Answer::Settled(reply, Ok(settled)));
            }
            Command::Alter(alter) => self.answers.push(Answer::Told(alter.apply(Ok((&mut self.core, now))))),
            Command::Look(look) => self.answers.push(Answer::Told(look.at(Ok(&self.core)))),
        }
    }

    fn lease(&mut self, request: LeaseRequest, reply: Reply<Vec<Lease>>, now: Micros) {
        if reply.is_closed() {
            return;
        }
        let leases = self.core.lease(&request, now);
        if !leases.is_empty() || request.wait.is_zero() {
            return self.answers.push(Answer::Leases(reply, request.namespace, Ok(leases)));
        }
        self.parked.park(request, reply, now);
    }

    fn heartbeat(
        &mut self,
        namespace: &str,
        leases: &[LeaseRef],
        reports: &[Report],
        duration: Option<Duration>,
        now: Micros,
    ) -> Vec<Beat> {
        let mut beats = self.core.heartbeat(namespace, leases, duration, now);
        beats.extend(reports.iter().map(|report| self.core.report(namespace, report, duration, now)));
        beats
    }

    /// Hands new work to the calls that wait, and lets those go whose time is over.
    fn serve_parked(&mut self, now: Micros) {
        for queue in self.core.take_touched() {
            let name = self.core.name_of(queue);
            while !self.core.is_empty(queue) {
                let Some(waiter) = self.parked.take(&name) else { break };
                let leases = self.core.lease(&waiter.request, now);
                self.answers.push(Answer::Leases(waiter.reply, waiter.request.namespace, Ok(leases)));
            }
        }
        while let Some(late) = self.parked.take_late(now) {
            self.answers.push(Answer::Leases(late.reply, late.request.namespace, Ok(Vec::new())));
        }
    }

    /// Takes what must be written now, and who waits for it.
    pub(super) fn close(&mut self) -> Round {
        let batch = self.core.take_batch(self.now());
        let (answers, charges) = (std::mem::take(&mut self.answers), std::mem::take(&mut self.charges));
        Round { batch, answers, charges }
    }

    /// Publishes what stands, and tells everybody who waited for it.
    pub(super) fn announce(&mut self, stands: Option<Round>) {
        let Some(Round { batch, answers, charges }) = stands else { return };
        if !batch.is_empty() {
            crate::metrics::committed(batch.changes.len());
            crate::metrics::ticked(&batch.ticks);
            self.tell_ends(&batch);
            self.publish(batch);
        }
        for answer in answers {
            // Work for a caller that is gone goes back, unstarted.
            if let Some((namespace, leases)) = answer.send() {
                self.give_back(&namespace, leases);
            }
        }
        drop(charges);
    }

    fn publish(&self, batch: Batch) {
        let (first, floor) = (batch.first, batch.floor);
        let head = first + batch.changes.len() as u64 - 1;
        let events = (first..).zip(batch.changes).filter(|(_, change)| change.event);
        let events = events.map(|(number, change)| TaskEvent {
            cursor: Cursor(number, 0),
            at: change.status.updated,
            task: Task {
                id: change.id,
                spec: change.spec,
                status: change.status,
                payload: None,
                payload_len: change.payload_len,
                result: change.result,
                checkpoint: None,
            },
        });
        self.parts.ring.publish(events.collect(), head, floor);
    }

    /// Tells who waits for the end of a task that this has ended or forgotten.
    fn tell_ends(&self, batch: &Batch) {
        let ended = batch.finished.iter().map(|finished| finished.row);
        self.parts.awaited.tell(ended.chain(batch.forgotten.iter().copied()));
    }

    /// Takes back leases that nobody got.
    pub(super) fn give_back(&mut self, namespace: &Arc<str>, leases: Vec<Lease>) {
        self.end(namespace, leases, &Outcome::Released);
    }

    /// Ends tasks whose payloads the ledger has lost: nobody could work on them.
    pub(super) fn bury(&mut self, namespace: &Arc<str>, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        for lease in &leases {
            tracing::error!(task = %lease.task.id, "the ledger has lost the payload of a task: it is dead");
        }
        let outcome = Outcome::Failed { error: Failure::payload_lost(), permanent: true, retry_after: None };
        self.end(namespace, leases, &outcome);
    }

    fn end(&mut self, namespace: &Arc<str>, leases: Vec<Lease>, outcome: &Outcome) {
        let now = self.now();
        for lease in leases {
            let settlement = Settlement { lease: lease.refer(), outcome: outcome.clone() };
            self.core.settle(namespace, &settlement, now);
        }
    }

    /// Tells everybody who waits that nothing came of it. Memory goes; what it has proven stays.
    pub(super) fn fail(&mut self, error: &Error) {
        self.parts.proven.extend(self.core.take_proven().on_clock(-self.offset));
        self.answers.drain(..).for_each(|answer| answer.fail(error));
        self.charges.clear();
        self.parts.awaited.tell_all();
        for waiter in self.parked.take_all() {
            // A caller that is gone needs no answer.
            drop(waiter.reply.send(Err(error.clone())));
        }
    }
}
