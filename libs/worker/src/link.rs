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

use crate::conversation::Conversation;
use crate::held::{Held, LeaseKey};
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
    pub(crate) lost: CancellationToken,
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
    pub(crate) held: Held,
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

    fn opening(&self) -> WorkOpen {
        let free = self.settings.concurrency.saturating_sub(self.held.len());
        let credit = if self.drain.is_cancelled() { 0 } else { free };
        WorkOpen {
            namespace: self.settings.namespace.clone(),
            queues: self.settings.queues.clone(),
            worker: self.settings.name.clone(),
            credit: u32::try_from(credit).unwrap_or(u32::MAX),
            lease_duration: self.settings.lease_duration.try_into().ok(),
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
                for key in conversation.lost(&answer.results) {
                    if self.held.lose(&key) {
                        tracing::warn!(task = key.task_id, "a lease was lost while its handler ran");
                    }
                }
                Ok(())
            }
            Some(Heard::Settled(answer)) => {
                self.settled(&conversation.settled(&answer.results), conversation)
            }
            Some(Heard::Cancelled(cancelled)) => {
                for key in cancelled.leases.into_iter().map(LeaseKey::from) {
                    if self.held.lose(&key) {
                        tracing::info!(task = key.task_id, "a task was cancelled while its handler ran");
                    }
                }
                Ok(())
            }
            Some(Heard::Draining(_)) => {
                tracing::info!("the queue drains; another stream will follow");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Gives leases to the handlers; hands back at once what comes during a drain or beyond the credit.
    fn take(&mut self, leases: Vec<Lease>, conversation: &mut Conversation) -> Result<(), Status> {
        let mut unwanted = Vec::new();
        for lease in leases {
            let Some(key) = key_of(&lease) else { continue };
            let lost = self.held.take(key.clone());
            let assignment = Assignment { key: key.clone(), lease, lost };
            if self.drain.is_cancelled() || self.assignments.try_send(assignment).is_err() {
                self.held.finish(&key, settlement::Outcome::Released(Released::default()));
                unwanted.push(key);
            }
        }
        conversation.settle(&self.held, &unwanted)
    }

    /// Settles what has ended, together with all else that has ended by now.
    fn finish(&mut self, first: Finished, conversation: &mut Conversation) -> Result<(), Status> {
        let (mut owed, mut freed) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(Finished { key, outcome }) = next {
            if self.held.finish(&key, outcome) {
                owed.push(key);
            } else {
                freed += 1;
            }
            next = self.finished.try_recv().ok();
        }
        conversation.settle(&self.held, &owed)?;
        self.grant(freed, conversation)
    }

    fn settled(&mut self, answered: &[(LeaseKey, bool)], conversation: &Conversation) -> Result<(), Status> {
        let mut freed = 0;
        for (key, late) in answered {
            freed += u32::from(self.held.settled(key));
            if *late {
                tracing::warn!(task = key.task_id, "a result came too late: the lease was lost");
            }
        }
        self.grant(freed, conversation)
    }

    fn grant(&self, freed: u32, conversation: &Conversation) -> Result<(), Status> {
        if freed == 0 || self.drain.is_cancelled() { Ok(()) } else { conversation.say(Said::Credit(freed)) }
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
