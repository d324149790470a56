//! The engine: one thread that owns memory and the writing end of the ledger.
//!
//! It takes what has gathered while the last commit ran, applies it to memory, commits once, and only then
//! answers and publishes. There are no timers on the way: one caller alone waits for nobody.

mod answer;
pub(crate) mod inbox;
mod parked;
pub(crate) mod ring;

use std::{sync::Arc, time::Duration};

use nova_types::Clock;
use tokio::time::sleep;

use self::{
    answer::Answer,
    inbox::{Charge, Command, Look, Outlet, Posted, Reply},
    parked::Parked,
    ring::Ring,
};
use crate::{
    core::{Core, Limits, batch::Batch, ends_as, entry::row_of},
    error::Error,
    ledger::{Ended, Ledger},
    record::{
        Beat, Cursor, Lease, LeaseRef, LeaseRequest, Outcome, Report, Settled, Settlement, Task, TaskEvent,
    },
    task::{Micros, State, span},
};

/// Most calls of each lane that one commit takes.
const GATHER: usize = 1_024;

/// Bytes of new tasks after which a commit takes no more: under a flood workers wait no longer for theirs.
const GATHER_BYTES: usize = 8 << 20;

/// Longest sleep, so that a clock that jumps is noticed.
const NAP: Duration = Duration::from_millis(500);

/// Rest after a commit that failed: what is due of itself, such as a tick, tries again at once.
const REST: Duration = Duration::from_millis(100);

/// What an engine runs with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Bounds of what is held.
    pub(crate) limits: Limits,
    /// Seed of jitter and ids.
    pub(crate) noise: u64,
    /// The daemon's clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where calls come from.
    pub(crate) outlet: Outlet,
    /// Where events go to.
    pub(crate) ring: Arc<Ring>,
    /// Greatest token that was ever given here: what the ledger has lost since is not given again.
    pub(crate) last_token: u64,
}

/// Memory, the ledger, and who waits for them.
#[derive(Debug)]
pub(crate) struct Engine<'a, L> {
    parts: &'a mut Parts,
    ledger: &'a mut L,
    core: Core,
    parked: Parked,
    answers: Vec<Answer>,
    looks: Vec<Look>,
    charges: Vec<Charge>,
}

impl<'a, L: Ledger> Engine<'a, L> {
    /// An engine over what the ledger holds.
    ///
    /// # Errors
    /// The ledger cannot be read, or belongs to another daemon.
    pub(crate) async fn over(parts: &'a mut Parts, ledger: &'a mut L) -> Result<Self, Error> {
        let mut core = ledger.recover(parts.limits.clone(), parts.noise, parts.clock.now().micros()).await?;
        core.continue_tokens(parts.last_token);
        parts.ring.reset(core.head(), core.floor());
        Ok(Self {
            parts,
            ledger,
            core,
            parked: Parked::default(),
            answers: Vec::new(),
            looks: Vec::new(),
            charges: Vec::new(),
        })
    }

    /// Number of the ownership that it runs under.
    pub(crate) fn epoch(&self) -> u64 {
        self.ledger.epoch()
    }

    /// Runs until every caller's end is dropped.
    ///
    /// # Errors
    /// [`Error::Deposed`] when another daemon owns the ledger now, or memory could not be built again after a
    /// commit that failed. Every caller has been told.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let ran = self.run_all().await;
        if let Err(error) = &ran {
            self.fail_all(error);
        }
        ran
    }

    async fn run_all(&mut self) -> Result<(), Error> {
        let mut posted = Vec::with_capacity(3 * GATHER);
        while self.gather(&mut posted).await {
            let now = self.now();
            self.core.tick(now);
            for Posted { command, charge } in posted.drain(..) {
                self.charges.push(charge);
                self.take(command, now).await;
            }
            self.core.cascade(now);
            self.serve_parked(now);
            self.commit(now).await?;
        }
        Ok(())
    }

    fn now(&self) -> Micros {
        self.parts.clock.now().micros() + self.ledger.clock_offset()
    }

    /// Waits for a call or a time, and takes what has gathered; false when all callers are gone.
    async fn gather(&mut self, posted: &mut Vec<Posted>) -> bool {
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
        posted.extend(first.flatten());
        for (lane, most) in [(settlements, usize::MAX), (calls, usize::MAX), (tasks, GATHER_BYTES)] {
            let mut bytes = 0;
            for _ in 0..GATHER {
                let Some(next) = (bytes < most).then(|| lane.try_recv().ok()).flatten() else { break };
                bytes += next.charge.bytes();
                posted.push(next);
            }
        }
        open
    }

    fn nap(&self) -> Duration {
        if self.core.has_changes() {
            return Duration::ZERO;
        }
        let next = self.core.next_tick().into_iter().chain(self.parked.next_late()).min();
        next.map_or(NAP, |at| span(at - self.now()).min(NAP))
    }

    async fn take(&mut self, command: Command, now: Micros) {
        match command {
            Command::Enqueue(tasks, reply) => {
                let receipts = self.core.enqueue(tasks, now);
                self.answers.push(Answer::Receipts(reply, receipts));
            }
            Command::Lease(request, reply) => self.lease(request, reply, now),
            Command::Heartbeat(namespace, leases, reports, duration, reply) => {
                let beats = self.heartbeat(&namespace, leases, &reports, duration, now).await;
                self.answers.push(Answer::Beats(reply, beats));
            }
            Command::Settle(namespace, settlements, reply) => {
                let settled = self.settle(&namespace, settlements, now).await;
                self.answers.push(Answer::Settled(reply, settled));
            }
            Command::Alter(alter) => {
                let told = alter.apply(&mut self.core, now);
                self.answers.push(Answer::Told(told));
            }
            Command::Look(look) => self.looks.push(look),
        }
    }

    fn lease(&mut self, request: LeaseRequest, reply: Reply<Vec<Lease>>, now: Micros) {
        if reply.is_closed() {
            return;
        }
        let leases = self.core.lease(&request, now);
        if !leases.is_empty() || request.wait.is_zero() {
            return self.answers.push(Answer::Leases(reply, request.namespace, leases));
        }
        let queues: Result<Vec<u32>, Error> =
            request.queues.iter().map(|queue| self.core.intern(&request.namespace, queue)).collect();
        match queues {
            Ok(queues) => self.parked.park(request, reply, queues, now),
            // A caller that is gone needs no answer.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    async fn heartbeat(
        &mut self,
        namespace: &str,
        mut leases: Vec<LeaseRef>,
        reports: &[Report],
        duration: Duration,
        now: Micros,
    ) -> Result<Vec<Beat>, Error> {
        let mut beats = self.core.heartbeat(namespace, &leases, duration, now);
        beats.extend(reports.iter().map(|report| self.core.report(namespace, report, duration, now)));
        leases.extend(reports.iter().map(|report| report.lease));
        let lost: Vec<_> = (0..beats.len()).filter(|at| beats[*at] == Beat::Lost).collect();
        if !lost.is_empty() {
            let ids: Vec<_> = lost.iter().map(|at| leases[*at].id).collect();
            for (at, ended) in lost.into_iter().zip(self.ledger.endings(&ids).await?) {
                beats[at] = why_lost(leases[at], ended);
            }
        }
        Ok(beats)
    }

    async fn settle(
        &mut self,
        namespace: &Arc<str>,
        settlements: Vec<Settlement>,
        now: Micros,
    ) -> Result<Vec<Settled>, Error> {
        let mut settled = Vec::with_capacity(settlements.len());
        let mut lost = Vec::new();
        for (at, settlement) in settlements.iter().enumerate() {
            let done = self.core.settle(namespace, settlement, now);
            if done == Settled::Lost {
                lost.push(at);
            }
            settled.push(done);
        }
        if !lost.is_empty() {
            self.repeat(&settlements, &lost, &mut settled).await?;
        }
        Ok(settled)
    }

    /// Gives settlements that ended their task and are repeated their first answer.
    async fn repeat(
        &mut self,
        settlements: &[Settlement],
        lost: &[usize],
        settled: &mut [Settled],
    ) -> Result<(), Error> {
        let ids: Vec<_> = lost.iter().map(|at| settlements[*at].lease.id).collect();
        for (at, ended) in lost.iter().zip(self.ledger.endings(&ids).await?) {
            settled[*at] = first_answer(&settlements[*at], ended);
        }
        Ok(())
    }

    /// Hands new work to the calls that wait, and lets those go whose time is over.
    fn serve_parked(&mut self, now: Micros) {
        for queue in self.core.take_touched() {
            while !self.core.is_empty(queue) {
                let Some(waiter) = self.parked.take(queue) else { break };
                let leases = self.core.lease(&waiter.request, now);
                self.answers.push(Answer::Leases(waiter.reply, waiter.request.namespace, leases));
            }
        }
        while let Some(late) = self.parked.take_late(now) {
            self.answers.push(Answer::Leases(late.reply, late.request.namespace, Vec::new()));
        }
    }

    /// Commits what memory has changed, then answers and publishes.
    async fn commit(&mut self, now: Micros) -> Result<(), Error> {
        let batch = self.core.take_batch(now);
        self.parts.last_token = self.parts.last_token.max(batch.last_token);
        let written =
            if batch.is_empty() { self.ledger.keep().await } else { self.ledger.write(&batch).await };
        match written {
            Ok(()) => {}
            Err(Error::Deposed) => return Err(Error::Deposed),
            Err(error) => return self.start_over(&error).await,
        }
        if !batch.is_empty() {
            crate::metrics::committed(batch.changes.len());
            crate::metrics::ticked(&batch.ticks);
            self.publish(batch);
        }
        for answer in std::mem::take(&mut self.answers) {
            self.answer(answer, now).await;
        }
        self.show();
        Ok(())
    }

    fn show(&mut self) {
        for look in self.looks.drain(..) {
            look.at(&self.core);
        }
        self.charges.clear();
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

    async fn answer(&mut self, answer: Answer, now: Micros) {
        match answer {
            Answer::Leases(reply, namespace, leases) => {
                let loaded = self.load(leases).await;
                // Work for a caller that is gone goes back, unstarted.
                if let Err(Ok(leases)) = reply.send(loaded) {
                    self.give_back(&namespace, leases, now);
                }
            }
            other => other.send(),
        }
    }

    /// Reads the payloads that memory did not hold, and checkpoints, which it never holds.
    async fn load(&mut self, mut leases: Vec<Lease>) -> Result<Vec<Lease>, Error> {
        let bare = |lease: &&mut Lease| lease.task.payload.is_none();
        let rows: Vec<_> = leases.iter_mut().filter(bare).map(|lease| row_of(lease.task.id)).collect();
        if !rows.is_empty() {
            let payloads = self.ledger.payloads(&rows).await?;
            for (lease, payload) in leases.iter_mut().filter(bare).zip(payloads) {
                lease.task.payload = Some(payload);
            }
        }
        let left = |lease: &&mut Lease| lease.task.status.has_checkpoint();
        let rows: Vec<_> = leases.iter_mut().filter(left).map(|lease| row_of(lease.task.id)).collect();
        if !rows.is_empty() {
            let checkpoints = self.ledger.checkpoints(&rows).await?;
            for (lease, checkpoint) in leases.iter_mut().filter(left).zip(checkpoints) {
                lease.task.checkpoint = checkpoint;
            }
        }
        Ok(leases)
    }

    fn give_back(&mut self, namespace: &Arc<str>, leases: Vec<Lease>, now: Micros) {
        for lease in leases {
            let lease = LeaseRef { id: lease.task.id, token: lease.token };
            self.core.settle(namespace, &Settlement { lease, outcome: Outcome::Released }, now);
        }
    }

    /// After a commit that failed: memory is built again from the ledger, and every caller is told.
    async fn start_over(&mut self, error: &Error) -> Result<(), Error> {
        tracing::error!(%error, "a commit failed: the queue is read again from its ledger");
        self.fail_answers(error);
        sleep(REST).await;
        let (limits, noise) = (self.parts.limits.clone(), self.parts.noise);
        self.core = self.ledger.recover(limits, noise, self.parts.clock.now().micros()).await?;
        self.core.continue_tokens(self.parts.last_token);
        // A commit that failed may stand after all: watches read on from the ledger.
        self.parts.ring.reset(self.core.head(), self.core.floor());
        self.show();
        Ok(())
    }

    /// Tells everybody who waits.
    fn fail_answers(&mut self, error: &Error) {
        for answer in self.answers.drain(..) {
            answer.fail(error);
        }
        for waiter in self.parked.take_all() {
            // A caller that is gone needs no answer.
            drop(waiter.reply.send(Err(error.clone())));
        }
    }

    fn fail_all(&mut self, error: &Error) {
        self.fail_answers(error);
        // A look that is dropped answers its caller that the queue is closed.
        self.looks.clear();
        self.charges.clear();
    }
}

fn why_lost(lease: LeaseRef, ended: Option<Ended>) -> Beat {
    let cancelled = |ended: &Ended| ended.state == State::Cancelled && ended.token == lease.token;
    ended.filter(cancelled).map_or(Beat::Lost, |_| Beat::Cancelled)
}

fn first_answer(settlement: &Settlement, ended: Option<Ended>) -> Settled {
    let same =
        |ended: &Ended| ended.token == settlement.lease.token && ends_as(&settlement.outcome, ended.state);
    let done = |ended: Ended| Settled::Done { state: ended.state, ready_at: ended.at };
    ended.filter(same).map_or(Settled::Lost, done)
}
