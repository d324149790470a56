//! The thread that lives on the `Work` stream: it takes leases, keeps them, and settles them.

use std::sync::Arc;
use std::time::Duration;

use nova_client::Channel;
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;
use nova_proto::queue::v1::work_request::Message as Said;
use nova_proto::queue::v1::work_response::Message as Heard;
use nova_proto::queue::v1::{Lease, LeaseRef, ReleaseRequest, Released, WorkOpen, WorkResponse, settlement};
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::CancelReason;
use crate::claim::Claim;
use crate::conversation::Conversation;
use crate::held::{Held, LeaseKey};
use crate::tally::Tally;
use crate::worker::{Settings, WorkerError};

/// How long the queue may take to answer the opening of a stream.
const OPEN: Duration = Duration::from_secs(5);
/// How long leases may still arrive on a stream that we have left.
const LEAVE: Duration = Duration::from_millis(300);
/// Wait before a stream is opened again: first and longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A lease on its way to a handler.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) key: LeaseKey,
    pub(crate) lease: Lease,
    pub(crate) claim: Claim,
}

/// A lease on its way back.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) key: LeaseKey,
    pub(crate) outcome: settlement::Outcome,
}

/// The worker's end of the queue.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) settings: Arc<Settings>,
    pub(crate) assignments: mpsc::Sender<Assignment>,
    pub(crate) finished: mpsc::Receiver<Finished>,
    pub(crate) drain: CancellationToken,
    pub(crate) tally: Tally,
    pub(crate) held: Held,
    /// Places that are free and that the queue does not know of yet.
    pub(crate) free: usize,
}

/// Why a stream was left.
enum Left {
    /// The worker has drained, or was dropped.
    Done,
    /// The queue ended it.
    Closed,
}

impl Link {
    /// Lives on streams until the worker has drained.
    pub(crate) async fn run(mut self, client: QueueServiceClient<Channel>) -> Result<(), WorkerError> {
        let mut wait = BACKOFF.0;
        while !self.is_done() {
            let opened = Instant::now();
            match self.stream(client.clone()).await {
                Ok(Left::Done) => return Ok(()),
                Ok(Left::Closed) => tracing::info!("the queue closed the work stream"),
                Err(status) if status.code() == Code::InvalidArgument => {
                    return Err(WorkerError::Refused(status));
                }
                Err(status) => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "no work stream")
                }
            }
            wait = if opened.elapsed() > OPEN { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
            tokio::time::sleep(wait.mul_f64(rand::rng().random_range(0.5..1.0))).await;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let dropped = self.assignments.is_closed();
        dropped || (self.drain.is_cancelled() && self.held.len() == 0)
    }

    /// Opens a stream and stays on it as long as it lasts.
    async fn stream(&mut self, mut client: QueueServiceClient<Channel>) -> Result<Left, Status> {
        self.collect_finished();
        let (mut conversation, outgoing) = Conversation::new();
        conversation.say(Said::Open(self.opening()))?;
        conversation.beat(&self.held)?;
        conversation.settle(&self.held, &self.held.owed())?;
        let opening = client.work(ReceiverStream::new(outgoing));
        let opened =
            timeout(OPEN, opening).await.map_err(|_| Status::deadline_exceeded("the queue is silent"))?;
        let mut incoming = opened?.into_inner();
        let left = self.converse(&mut conversation, &mut incoming).await?;
        if matches!(left, Left::Done) {
            drop(conversation);
            self.hand_back_what_arrives(incoming, client).await;
        }
        Ok(left)
    }

    /// All places that no handler occupies are free on a new stream.
    fn opening(&mut self) -> WorkOpen {
        self.free = self.settings.places().saturating_sub(self.held.occupied());
        WorkOpen {
            namespace: self.settings.namespace.clone(),
            queues: self.settings.queues.clone(),
            worker: self.settings.name.clone(),
            credit: self.credit(),
            lease_duration: self.settings.lease_duration.try_into().ok(),
        }
    }

    /// Takes the credit that may be given now: none during a drain, and none while more is owed to the queue than this
    /// worker has places, so that a queue that does not answer cannot make it hold more and more.
    fn credit(&mut self) -> u32 {
        if self.drain.is_cancelled() || self.held.owes() > self.settings.places() {
            return 0;
        }
        u32::try_from(std::mem::take(&mut self.free)).unwrap_or(u32::MAX)
    }

    fn give_credit(&mut self, conversation: &Conversation) -> Result<(), Status> {
        match self.credit() {
            0 => Ok(()),
            credit => conversation.say(Said::Credit(credit)),
        }
    }

    async fn converse(
        &mut self,
        conversation: &mut Conversation,
        incoming: &mut Streaming<WorkResponse>,
    ) -> Result<Left, Status> {
        let period = self.settings.lease_duration / 3;
        let mut beat = interval_at(Instant::now() + period, period);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tally.hold(self.held.len());
            if self.is_done() {
                return Ok(Left::Done);
            }
            tokio::select! {
                heard = incoming.message() => match heard? {
                    Some(heard) => self.hear(heard, conversation)?,
                    None => return Ok(Left::Closed),
                },
                finished = self.finished.recv() => match finished {
                    Some(finished) => self.finish(finished, conversation)?,
                    None => return Ok(Left::Done),
                },
                _ = beat.tick() => {
                    conversation.check_answers(self.settings.lease_duration * 2)?;
                    conversation.beat(&self.held)?;
                }
                () = self.drain.cancelled(), if !self.drain.is_cancelled() => {}
            }
        }
    }

    fn hear(&mut self, response: WorkResponse, conversation: &mut Conversation) -> Result<(), Status> {
        match response.message {
            Some(Heard::Leases(leases)) => self.take(leases.leases, conversation),
            Some(Heard::Heartbeats(answer)) => {
                let (sent, answered) = conversation.beaten(&answer.results);
                self.beaten(sent, &answered);
                Ok(())
            }
            Some(Heard::Settled(answer)) => {
                self.settled(&conversation.settled(&answer.results), conversation)
            }
            Some(Heard::Cancelled(cancelled)) => {
                for key in cancelled.leases.into_iter().map(LeaseKey::from) {
                    self.lose(&key, CancelReason::TaskCancelled);
                }
                Ok(())
            }
            Some(Heard::Draining(_)) => {
                tracing::info!("the queue drains; another stream will follow");
                Ok(())
            }
            // Nothing, or a word of a newer queue that this worker can do without.
            _ => Ok(()),
        }
    }

    /// Leases count from when their heartbeat was sent: the queue cannot have extended them for less.
    fn beaten(&mut self, sent: Instant, answered: &[(LeaseKey, Option<CancelReason>)]) {
        for (key, gone) in answered {
            match gone {
                None => self.held.extend(key, sent + self.settings.lease_duration),
                Some(reason) => self.lose(key, *reason),
            }
        }
    }

    /// Tells the handler of a lease that is gone.
    fn lose(&mut self, key: &LeaseKey, reason: CancelReason) {
        if !self.held.lose(key, reason) {
            return;
        }
        match reason {
            CancelReason::TaskCancelled => self.tally.cancelled(),
            _ => self.tally.lost(),
        }
        tracing::warn!(task = key.task_id, %reason, "a handler is told to stop");
    }

    /// Gives leases to the handlers; hands back at once what comes during a drain or beyond the credit.
    fn take(&mut self, leases: Vec<Lease>, conversation: &mut Conversation) -> Result<(), Status> {
        let mut unwanted = Vec::new();
        for lease in leases {
            let Some(key) = key_of(&lease) else { continue };
            let claim = self.held.take(key.clone(), Instant::now() + self.settings.lease_duration);
            let assignment = Assignment { key: key.clone(), lease, claim };
            if self.drain.is_cancelled() || self.assignments.try_send(assignment).is_err() {
                self.held.finish(&key, settlement::Outcome::Released(Released::default()));
                self.free += 1;
                unwanted.push(key);
            }
        }
        conversation.settle(&self.held, &unwanted)
    }

    /// Settles what has ended, together with all else that has ended by now; its places are free at once.
    fn finish(&mut self, first: Finished, conversation: &mut Conversation) -> Result<(), Status> {
        let mut owed = Vec::new();
        let mut next = Some(first);
        while let Some(Finished { key, outcome }) = next {
            if self.held.finish(&key, outcome) {
                owed.push(key);
            }
            self.free += 1;
            next = self.finished.try_recv().ok();
        }
        conversation.settle(&self.held, &owed)?;
        self.give_credit(conversation)
    }

    fn settled(&mut self, answered: &[(LeaseKey, bool)], conversation: &Conversation) -> Result<(), Status> {
        for (key, late) in answered {
            let Some(outcome) = self.held.settled(key) else { continue };
            if *late {
                self.tally.lost();
                tracing::warn!(task = key.task_id, "an outcome came too late: the lease was lost");
            } else {
                self.tally.settled(&outcome);
            }
        }
        self.give_credit(conversation)
    }

    /// Notes what ended while there was no stream; the next one settles it.
    fn collect_finished(&mut self) {
        while let Ok(Finished { key, outcome }) = self.finished.try_recv() {
            self.held.finish(&key, outcome);
        }
    }

    /// Leases that were on their way when the worker left go back by call.
    async fn hand_back_what_arrives(
        &self,
        mut incoming: Streaming<WorkResponse>,
        mut client: QueueServiceClient<Channel>,
    ) {
        while let Ok(Ok(Some(response))) = timeout(LEAVE, incoming.message()).await {
            let Some(Heard::Leases(leases)) = response.message else { continue };
            for key in leases.leases.iter().filter_map(key_of) {
                let lease = Some(LeaseRef { task_id: key.task_id, token: key.token });
                let release = ReleaseRequest {
                    namespace: self.settings.namespace.clone(),
                    lease,
                    ..Default::default()
                };
                if let Err(status) = client.release(release).await {
                    tracing::info!(
                        error = status.message(),
                        "a lease could not be handed back; it will expire"
                    );
                }
            }
        }
    }
}

fn key_of(lease: &Lease) -> Option<LeaseKey> {
    let task_id = lease.task.as_ref()?.id.clone();
    Some(LeaseKey { task_id, token: lease.token })
}
