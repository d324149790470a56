//! The thread that lives on the `Work` stream: it takes leases, keeps them, and settles them.

mod answers;
mod leases;

use std::sync::Arc;
use std::time::Duration;

use nova_client::Channel;
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;
use nova_proto::queue::v1::work_request::Message as Said;
use nova_proto::queue::v1::{Lease, WorkOpen, WorkResponse, settlement};
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::Span;

use crate::claim::Claim;
use crate::conversation::Conversation;
use crate::held::{Held, LeaseKey};
use crate::reports::Reports;
use crate::tally::Tally;
use crate::worker::{Settings, WorkerError};

/// How long the queue may take to answer the opening of a stream.
const OPEN: Duration = Duration::from_secs(5);
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
    /// From the end of its handler to the answer of the queue.
    pub(crate) settling: Span,
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
    pub(crate) reports: Reports,
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
        conversation.settle(&self.held, &self.held.owed(), 0)?;
        let opening = client.work(ReceiverStream::new(outgoing));
        let opened =
            timeout(OPEN, opening).await.map_err(|_| Status::deadline_exceeded("the queue is silent"))?;
        let mut incoming = opened?.into_inner();
        let left = self.converse(&mut conversation, &mut incoming).await;
        self.reports.put_back(conversation.unanswered());
        let left = left?;
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
                () = self.reports.due() => self.report(conversation)?,
                _ = beat.tick() => {
                    conversation.check_answers(self.settings.lease_duration * 2)?;
                    conversation.beat(&self.held)?;
                }
                () = self.drain.cancelled(), if !self.drain.is_cancelled() => {}
            }
        }
    }

    /// Sends what attempts report; reports on leases that are gone are dropped.
    fn report(&mut self, conversation: &mut Conversation) -> Result<(), Status> {
        let mut reports = self.reports.take();
        reports.retain(|key, _| self.held.is_running(key));
        conversation.report(reports)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reports.close();
    }
}
