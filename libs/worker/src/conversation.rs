//! What is said on one `Work` stream, and which answers are still to come.

use std::collections::VecDeque;
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

/// Messages that may wait to be sent: room for all that the largest worker can owe.
const OUTGOING: usize = 8_192;
/// Leases in one message.
const BATCH: usize = 1_000;
/// Results in one message, in bytes.
const BATCH_BYTES: usize = 2 << 20;

/// One stream's side of the worker.
#[derive(Debug)]
pub(crate) struct Conversation {
    outgoing: mpsc::Sender<WorkRequest>,
    /// Leases of each heartbeat that has no answer yet, in order, and when it was sent.
    beats: VecDeque<(Instant, Vec<LeaseKey>)>,
    /// Leases of each settlement that has no answer yet, in order.
    settlements: VecDeque<(Instant, Vec<LeaseKey>)>,
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
            self.beats.push_back((Instant::now(), keys.to_vec()));
        }
        Ok(())
    }

    /// Settles these leases, in as few messages as they fit.
    pub(crate) fn settle(&mut self, held: &Held, keys: &[LeaseKey]) -> Result<(), Status> {
        let (mut batch, mut batched, mut bytes) = (Vec::new(), Vec::new(), 0);
        for key in keys {
            let Some(settlement) = held.settlement(key) else { continue };
            let size = size(settlement.outcome.as_ref());
            if !batch.is_empty() && (batch.len() == BATCH || bytes + size > BATCH_BYTES) {
                self.send_settlements(std::mem::take(&mut batch), std::mem::take(&mut batched))?;
                bytes = 0;
            }
            batch.push(settlement);
            batched.push(key.clone());
            bytes += size;
        }
        if batch.is_empty() { Ok(()) } else { self.send_settlements(batch, batched) }
    }

    fn send_settlements(
        &mut self,
        settlements: Vec<nova_proto::queue::v1::Settlement>,
        keys: Vec<LeaseKey>,
    ) -> Result<(), Status> {
        self.say(Message::Settle(WorkSettle { settlements }))?;
        self.settlements.push_back((Instant::now(), keys));
        Ok(())
    }

    /// The leases of the oldest heartbeat, each with why it is gone if it is; and when that was sent.
    pub(crate) fn beaten(
        &mut self,
        results: &[HeartbeatResult],
    ) -> (Instant, Vec<(LeaseKey, Option<CancelReason>)>) {
        let (sent, keys) = self.beats.pop_front().unwrap_or((Instant::now(), Vec::new()));
        let answered = keys.into_iter().zip(results);
        let answered = answered
            .filter(|(key, result)| result.task_id == key.task_id)
            .map(|(key, result)| (key, gone(result)));
        (sent, answered.collect())
    }

    /// The leases of the oldest settlement, each with whether it came too late.
    pub(crate) fn settled(&mut self, results: &[SettlementResult]) -> Vec<(LeaseKey, bool)> {
        let (_, keys) = self.settlements.pop_front().unwrap_or((Instant::now(), Vec::new()));
        let answered = keys.into_iter().zip(results);
        answered
            .filter(|(key, result)| result.task_id == key.task_id)
            .map(|(key, result)| (key, result.lost))
            .collect()
    }

    /// Fails when a settlement has waited longer than this for its answer: the stream is of no use.
    pub(crate) fn check_answers(&self, patience: Duration) -> Result<(), Status> {
        match self.settlements.front() {
            Some((sent, _)) if sent.elapsed() > patience => {
                Err(Status::deadline_exceeded("the queue does not answer a settlement"))
            }
            _ => Ok(()),
        }
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
