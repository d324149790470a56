//! Leases on their way from the queue to handlers, and back.

use std::time::Duration;

use nova_client::Channel;
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;
use nova_proto::queue::v1::work_response::Message as Heard;
use nova_proto::queue::v1::{Lease, LeaseRef, ReleaseRequest, Released, Task, WorkResponse, settlement};
use nova_rpc::messaging::{self, Message};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};
use tracing::Span;

use super::{Assignment, Finished, Link};
use crate::conversation::Conversation;
use crate::held::LeaseKey;

/// How long leases may still arrive on a stream that we have left.
const LEAVE: Duration = Duration::from_millis(300);

impl Link {
    /// Gives leases to the handlers; hands back at once what comes during a drain or beyond the credit.
    pub(super) fn take(&mut self, leases: Vec<Lease>, conversation: &mut Conversation) -> Result<(), Status> {
        let mut unwanted = Vec::new();
        let together = leases.len();
        for lease in leases {
            let Some(key) = key_of(&lease) else { continue };
            self.note_arrival(lease.task.as_ref(), together);
            let claim = self.held.take(key.clone(), Instant::now() + self.settings.lease_duration);
            let assignment = Assignment { key: key.clone(), lease, claim };
            if self.drain.is_cancelled() || self.assignments.try_send(assignment).is_err() {
                self.held.finish(&key, settlement::Outcome::Released(Released::default()), Span::none());
                self.free += 1;
                unwanted.push(key);
            }
        }
        conversation.settle(&self.held, &unwanted, 0)
    }

    /// Settles what has ended, together with all else that has ended by now; its places are free at once.
    pub(super) fn finish(&mut self, first: Finished, conversation: &mut Conversation) -> Result<(), Status> {
        let mut owed = Vec::new();
        let mut next = Some(first);
        while let Some(Finished { key, outcome, settling }) = next {
            if self.held.finish(&key, outcome, settling) {
                owed.push(key);
            }
            self.free += 1;
            next = self.finished.try_recv().ok();
        }
        let credit = self.credit();
        conversation.settle(&self.held, &owed, credit)
    }

    /// A span for the receipt of a task: short, so that it is told whatever becomes of this process.
    fn note_arrival(&self, task: Option<&Task>, together: usize) {
        let Some(task) = task else { return };
        let message = Message { queue: &task.queue, id: &task.id, producer: &task.traceparent };
        drop(messaging::receive(&message, together, &self.settings.name));
    }

    /// Notes what ended while there was no stream; the next one settles it.
    pub(super) fn collect_finished(&mut self) {
        while let Ok(Finished { key, outcome, settling }) = self.finished.try_recv() {
            self.held.finish(&key, outcome, settling);
        }
    }

    /// Leases that were on their way when the worker left go back by call.
    pub(super) async fn hand_back_what_arrives(
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
