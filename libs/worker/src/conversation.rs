//! What is said on one `Work` stream, and which answers are still to come.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use nova_proto::queue::v1::work_request::Message;
use nova_proto::queue::v1::{
    HeartbeatResult, SettlementResult, WorkHeartbeat, WorkRequest, WorkSettle, settlement,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use crate::CancelReason;
use crate::held::{Held, LeaseKey, references};
use crate::reports::Report;

/// Messages that may wait to be sent: room for all that the largest worker can owe.
const OUTGOING: usize = 8_192;
/// Leases in one message.
const BATCH: usize = 1_000;
/// Results or checkpoints in one message, in bytes.
const BATCH_BYTES: usize = 2 << 20;

/// One stream's side of the worker.
#[derive(Debug)]
pub(crate) struct Conversation {
    outgoing: mpsc::Sender<WorkRequest>,
    /// Heartbeats that have no answer yet, in order.
    beats: VecDeque<Beat>,
    /// Leases of each settlement that has no answer yet, in order.
    settlements: VecDeque<(Instant, Vec<LeaseKey>)>,
}

/// A heartbeat: its leases in order, with what it reports. One that reports on a lease does so on all of its leases.
#[derive(Debug)]
struct Beat {
    sent: Instant,
    leases: Vec<(LeaseKey, Option<Report>)>,
}

impl Beat {
    fn of(leases: Vec<(LeaseKey, Option<Report>)>) -> Self {
        Self { sent: Instant::now(), leases }
    }

    fn reports(&self) -> bool {
        self.leases.first().is_some_and(|(_, report)| report.is_some())
    }
}

/// What the queue answered for one lease of a heartbeat.
#[derive(Debug)]
pub(crate) struct Beaten {
    pub(crate) key: LeaseKey,
    /// What was reported.
    pub(crate) report: Option<Report>,
    /// Why the lease is gone, if it is.
    pub(crate) gone: Option<CancelReason>,
}

impl Conversation {
    /// A conversation, and what it says.
    pub(crate) fn new() -> (Self, mpsc::Receiver<WorkRequest>) {
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        (Self { outgoing, beats: VecDeque::new(), settlements: VecDeque::new() }, receiver)
    }

    /// Says something; fails when the stream is broken or nobody reads.
    pub(crate) fn say(&self, message: Message) -> Result<(), Status> {
        let request = WorkRequest { message: Some(message) };
        self.outgoing
            .try_send(request)
            .map_err(|_| Status::unavailable("the queue does not read this stream"))
    }

    /// Keeps every running lease.
    pub(crate) fn beat(&mut self, held: &Held) -> Result<(), Status> {
        for keys in held.running().chunks(BATCH) {
            self.say(Message::Heartbeat(WorkHeartbeat { leases: references(keys), ..Default::default() }))?;
            self.beats.push_back(Beat::of(keys.iter().map(|key| (key.clone(), None)).collect()));
        }
        Ok(())
    }

    /// Reports on these leases, in as few messages as they fit; that keeps them, too.
    pub(crate) fn report(&mut self, reports: BTreeMap<LeaseKey, Report>) -> Result<(), Status> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (key, report) in reports {
            let size = report.size();
            if !batch.is_empty() && (batch.len() == BATCH || bytes + size > BATCH_BYTES) {
                self.send_reports(std::mem::take(&mut batch))?;
                bytes = 0;
            }
            batch.push((key, Some(report)));
            bytes += size;
        }
        if batch.is_empty() { Ok(()) } else { self.send_reports(batch) }
    }

    /// Noted as sent before it is: what cannot be said is unanswered.
    fn send_reports(&mut self, batch: Vec<(LeaseKey, Option<Report>)>) -> Result<(), Status> {
        let reports = batch.iter().filter_map(|(key, report)| Some(report.as_ref()?.to_wire(key))).collect();
        self.beats.push_back(Beat::of(batch));
        self.say(Message::Heartbeat(WorkHeartbeat { reports, ..Default::default() }))
    }

    /// Reports that have no answer yet, in the order in which they were sent; none is waited for any more.
    pub(crate) fn unanswered(&mut self) -> Vec<(LeaseKey, Report)> {
        let beats = std::mem::take(&mut self.beats).into_iter().flat_map(|beat| beat.leases);
        beats.filter_map(|(key, report)| Some((key, report?))).collect()
    }

    /// Settles these leases, in as few messages as they fit, and lets as many more come as `credit` says: the queue gives
    /// them with the commit that ends the others.
    pub(crate) fn settle(&mut self, held: &Held, keys: &[LeaseKey], credit: u32) -> Result<(), Status> {
        let (mut batch, mut batched, mut bytes) = (Vec::new(), Vec::new(), 0);
        for key in keys {
            let Some(settlement) = held.settlement(key) else { continue };
            let size = size(settlement.outcome.as_ref());
            if !batch.is_empty() && (batch.len() == BATCH || bytes + size > BATCH_BYTES) {
                self.send_settlements(std::mem::take(&mut batch), std::mem::take(&mut batched), 0)?;
                bytes = 0;
            }
            batch.push(settlement);
            batched.push(key.clone());
            bytes += size;
        }
        if batch.is_empty() {
            self.give_credit(credit)
        } else {
            self.send_settlements(batch, batched, credit)
        }
    }

    /// Lets so many more leases come.
    pub(crate) fn give_credit(&self, credit: u32) -> Result<(), Status> {
        if credit == 0 { Ok(()) } else { self.say(Message::Credit(credit)) }
    }

    fn send_settlements(
        &mut self,
        settlements: Vec<nova_proto::queue::v1::Settlement>,
        keys: Vec<LeaseKey>,
        credit: u32,
    ) -> Result<(), Status> {
        self.say(Message::Settle(WorkSettle { settlements, credit }))?;
        self.settlements.push_back((Instant::now(), keys));
        Ok(())
    }

    /// What became of the leases of the oldest heartbeat, and when that was sent.
    pub(crate) fn beaten(&mut self, results: &[HeartbeatResult]) -> (Instant, Vec<Beaten>) {
        let Beat { sent, leases } = self.beats.pop_front().unwrap_or_else(|| Beat::of(Vec::new()));
        let answered = leases.into_iter().zip(results);
        let answered = answered.filter(|((key, _), result)| result.task_id == key.task_id);
        let beaten = answered.map(|((key, report), result)| Beaten { key, report, gone: gone(result) });
        (sent, beaten.collect())
    }

    /// The leases of the oldest settlement, each with whether it came too late.
    pub(crate) fn settled(&mut self, results: &[SettlementResult]) -> Vec<(LeaseKey, bool)> {
        let (_, keys) = self.settlements.pop_front().unwrap_or((Instant::now(), Vec::new()));
        let answered = keys.into_iter().zip(results);
        let answered = answered.filter(|(key, result)| result.task_id == key.task_id);
        answered.map(|(key, result)| (key, result.lost)).collect()
    }

    /// Fails when a settlement or a report has waited longer than this for its answer: the stream is of no use.
    pub(crate) fn check_answers(&self, patience: Duration) -> Result<(), Status> {
        let reported = self.beats.iter().find(|beat| beat.reports()).map(|beat| &beat.sent);
        let settled = self.settlements.front().map(|(sent, _)| sent);
        let late = reported.into_iter().chain(settled).any(|sent| sent.elapsed() > patience);
        if late { Err(Status::deadline_exceeded("the queue does not answer")) } else { Ok(()) }
    }
}

fn gone(result: &HeartbeatResult) -> Option<CancelReason> {
    match (result.cancelled, result.lost) {
        (true, _) => Some(CancelReason::TaskCancelled),
        (false, true) => Some(CancelReason::LeaseLost),
        (false, false) => None,
    }
}

fn size(outcome: Option<&settlement::Outcome>) -> usize {
    match outcome {
        Some(settlement::Outcome::Completed(result)) => result.len(),
        _ => 0,
    }
}
