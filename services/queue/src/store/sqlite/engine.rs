//! The engine: one thread that owns memory and the writing connection.
//!
//! It takes what has gathered while the last commit ran, applies it to memory, commits once, and only then
//! answers and publishes. There are no timers on the way: one caller alone waits for nobody.

use std::{sync::Arc, time::Duration};

use nova_types::Clock;
use rusqlite::{Connection, OptionalExtension as _, Statement};
use tokio::time::sleep;

use crate::{
    core::{Core, Limits, batch::Batch, entry::row_of},
    error::Error,
    record::{Cursor, Lease, LeaseRequest, Outcome, Settled, Settlement, Task, TaskEvent},
    store::sqlite::{
        answer::Answer,
        commit::Writer,
        inbox::{Charge, Command, Look, Outlet, Posted, Reply},
        parked::Parked,
        recover::recover,
        ring::Ring,
    },
    task::{Micros, span},
};

/// Most calls of each way in that one commit takes.
const GATHER: usize = 1_024;

/// Longest sleep, so that a clock that jumps is noticed.
const NAP: Duration = Duration::from_millis(500);

/// What the engine runs with.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) limits: Limits,
    pub(super) noise: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) outlet: Outlet,
    pub(super) ring: Arc<Ring>,
}

/// Memory, the writing connection, and who waits for them.
#[derive(Debug)]
pub(super) struct Engine<'c> {
    parts: Parts,
    connection: &'c Connection,
    writer: Writer<'c>,
    payload: Statement<'c>,
    ending: Statement<'c>,
    core: Core,
    parked: Parked,
    answers: Vec<Answer>,
    looks: Vec<Look>,
    charges: Vec<Charge>,
}

impl<'c> Engine<'c> {
    /// An engine over what [`recover`] built.
    pub(super) fn new(
        connection: &'c Connection,
        writer: Writer<'c>,
        core: Core,
        parts: Parts,
    ) -> Result<Self, Error> {
        Ok(Self {
            payload: connection.prepare("SELECT payload FROM task WHERE row = ?1")?,
            ending: connection.prepare("SELECT state, token, at FROM finished WHERE row = ?1 AND id = ?2")?,
            parts,
            connection,
            writer,
            core,
            parked: Parked::default(),
            answers: Vec::new(),
            looks: Vec::new(),
            charges: Vec::new(),
        })
    }

    /// Runs until every caller's end is dropped.
    ///
    /// # Errors
    /// Memory could not be built again after a commit that failed.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut posted = Vec::with_capacity(2 * GATHER);
        while self.gather(&mut posted).await {
            let now = self.now();
            self.core.tick(now);
            for Posted { command, charge } in posted.drain(..) {
                self.charges.push(charge);
                self.take(command, now);
            }
            self.serve_parked(now);
            self.commit(now)?;
        }
        Ok(())
    }

    fn now(&self) -> Micros {
        self.parts.clock.now().micros()
    }

    /// Waits for a call or a time, and takes what has gathered; false when all callers are gone.
    async fn gather(&mut self, posted: &mut Vec<Posted>) -> bool {
        let nap = self.nap();
        let Outlet { settlements, requests } = &mut self.parts.outlet;
        let first = tokio::select! {
            biased;
            first = settlements.recv() => first.map(Some),
            first = requests.recv() => first.map(Some),
            () = sleep(nap) => Some(None),
        };
        let open = first.is_some();
        posted.extend(first.flatten());
        for _ in 0..GATHER {
            let Ok(next) = settlements.try_recv() else { break };
            posted.push(next);
        }
        for _ in 0..GATHER {
            let Ok(next) = requests.try_recv() else { break };
            posted.push(next);
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

    fn take(&mut self, command: Command, now: Micros) {
        match command {
            Command::Enqueue(tasks, reply) => {
                let receipts = self.core.enqueue(tasks, now);
                self.answers.push(Answer::Receipts(reply, receipts));
            }
            Command::Lease(request, reply) => self.lease(request, reply, now),
            Command::Heartbeat(namespace, leases, duration, reply) => {
                let ends = self.core.heartbeat(&namespace, &leases, duration, now);
                self.answers.push(Answer::Ends(reply, ends));
            }
            Command::Settle(namespace, settlements, reply) => {
                let settled = self.settle(&namespace, settlements, now);
                self.answers.push(Answer::Settled(reply, settled));
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

    fn settle(
        &mut self,
        namespace: &Arc<str>,
        settlements: Vec<Settlement>,
        now: Micros,
    ) -> Result<Vec<Settled>, Error> {
        let mut settled = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let kept = settlement.clone();
            settled.push(match self.core.settle(namespace, settlement, now) {
                Settled::Lost => self.ended(&kept)?,
                done @ Settled::Done { .. } => done,
            });
        }
        Ok(settled)
    }

    /// The first answer to a settlement that ended its task and is repeated.
    fn ended(&mut self, settlement: &Settlement) -> Result<Settled, Error> {
        let id = settlement.lease.id;
        let found: Option<(u8, u64, Micros)> = self
            .ending
            .query_row(rusqlite::params![row_of(id), id.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((code, token, ready_at)) = found else { return Ok(Settled::Lost) };
        let state = crate::task::State::from_code(code).filter(|_| token == settlement.lease.token);
        let state = state.filter(|state| crate::core::ends_as(&settlement.outcome, *state));
        Ok(state.map_or(Settled::Lost, |state| Settled::Done { state, ready_at }))
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
    fn commit(&mut self, now: Micros) -> Result<(), Error> {
        let batch = self.core.take_batch(now);
        let written = if batch.is_empty() { Ok(()) } else { self.writer.write(&batch) };
        if let Err(error) = written {
            return self.start_over(&error);
        }
        if !batch.is_empty() {
            crate::metrics::committed(batch.changes.len());
            self.publish(batch);
        }
        for answer in std::mem::take(&mut self.answers) {
            self.answer(answer, now);
        }
        for look in self.looks.drain(..) {
            look.at(&self.core);
        }
        self.charges.clear();
        Ok(())
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
                result: change.result,
            },
        });
        self.parts.ring.publish(events.collect(), head, floor);
    }

    fn answer(&mut self, answer: Answer, now: Micros) {
        match answer {
            Answer::Leases(reply, namespace, leases) => {
                let loaded = self.load(leases);
                // Work for a caller that is gone goes back, unstarted.
                if let Err(Ok(leases)) = reply.send(loaded) {
                    self.give_back(&namespace, leases, now);
                }
            }
            other => other.send(),
        }
    }

    /// Reads the payloads that memory did not hold.
    fn load(&mut self, mut leases: Vec<Lease>) -> Result<Vec<Lease>, Error> {
        for lease in &mut leases {
            if lease.task.payload.is_none() {
                let payload: Vec<u8> = self.payload.query_row([row_of(lease.task.id)], |row| row.get(0))?;
                lease.task.payload = Some(payload.into());
            }
        }
        Ok(leases)
    }

    fn give_back(&mut self, namespace: &Arc<str>, leases: Vec<Lease>, now: Micros) {
        for lease in leases {
            let lease = crate::record::LeaseRef { id: lease.task.id, token: lease.token };
            self.core.settle(namespace, Settlement { lease, outcome: Outcome::Released }, now);
        }
    }

    /// After a commit that failed: memory is built again from the file, and every caller is told.
    fn start_over(&mut self, error: &Error) -> Result<(), Error> {
        tracing::error!(%error, "a commit failed: the queue is read again from its file");
        let (limits, noise) = (self.parts.limits.clone(), self.parts.noise);
        let (core, counters) = recover(self.connection, limits, noise, self.now())?;
        self.core = core;
        self.writer.start_from(counters.last_row, counters.floor);
        // A commit that failed may stand after all: watches read on from the file.
        self.parts.ring.reset(self.core.head(), self.core.floor());
        for answer in self.answers.drain(..) {
            answer.fail(error);
        }
        for waiter in self.parked.take_all() {
            // A caller that is gone needs no answer.
            drop(waiter.reply.send(Err(error.clone())));
        }
        for look in self.looks.drain(..) {
            look.at(&self.core);
        }
        self.charges.clear();
        Ok(())
    }
}
