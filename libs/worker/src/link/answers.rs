//! What the queue says on a stream, and what follows from it.

use nova_proto::queue::v1::WorkResponse;
use nova_proto::queue::v1::work_response::Message as Heard;
use nova_rpc::messaging;
use tokio::time::Instant;
use tonic::Status;

use super::Link;
use crate::CancelReason;
use crate::conversation::{Beaten, Conversation};
use crate::held::LeaseKey;
use crate::reports::Report;

impl Link {
    pub(super) fn hear(
        &mut self,
        response: WorkResponse,
        conversation: &mut Conversation,
    ) -> Result<(), Status> {
        match response.message {
            Some(Heard::Leases(leases)) => self.take(leases.leases, conversation),
            Some(Heard::Heartbeats(answer)) => {
                let (sent, beaten) = conversation.beaten(&answer.results);
                self.beaten(sent, beaten);
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
    fn beaten(&mut self, sent: Instant, beaten: Vec<Beaten>) {
        for Beaten { key, report, gone } in beaten {
            match gone {
                None => {
                    self.held.extend(&key, sent + self.settings.lease_duration);
                    report.into_iter().for_each(Report::confirm);
                }
                Some(reason) => self.lose(&key, reason),
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

    fn settled(&mut self, answered: &[(LeaseKey, bool)], conversation: &Conversation) -> Result<(), Status> {
        for (key, late) in answered {
            let Some((outcome, settling)) = self.held.settled(key) else { continue };
            if *late {
                self.tally.lost();
                messaging::fail(&settling, "LEASE_LOST");
                tracing::warn!(task = key.task_id, "an outcome came too late: the lease was lost");
            } else {
                self.tally.settled(&outcome);
            }
        }
        conversation.give_credit(self.credit())
    }
}
