//! What this worker holds, and what it owes for it. Pure bookkeeping; owned by the link alone.

use std::collections::BTreeMap;

use nova_proto::queue::v1::{LeaseRef, Settlement, settlement};
use tokio::time::Instant;
use tracing::Span;

use crate::CancelReason;
use crate::claim::Claim;

/// Names a lease: the same task may be leased to this worker again, with a larger token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseKey {
    pub(crate) task_id: String,
    pub(crate) token: u64,
}

impl From<LeaseRef> for LeaseKey {
    fn from(lease: LeaseRef) -> Self {
        Self { task_id: lease.task_id, token: lease.token }
    }
}

impl LeaseKey {
    pub(crate) fn to_wire(&self) -> LeaseRef {
        LeaseRef { task_id: self.task_id.clone(), token: self.token }
    }
}

#[derive(Debug)]
enum Stage {
    /// A handler works on it, or soon will.
    Running(Claim),
    /// Another worker may have it; the handler has been told and has not ended yet.
    Lost,
    /// The handler has ended, and the queue does not know yet. The span lasts until it does.
    Owed(settlement::Outcome, Span),
}

/// All leases of a worker.
#[derive(Debug, Default)]
pub(crate) struct Held {
    leases: BTreeMap<LeaseKey, Stage>,
    /// How many of them are owed.
    owed: usize,
}

impl Held {
    /// Takes a lease that stands until then.
    pub(crate) fn take(&mut self, key: LeaseKey, until: Instant) -> Claim {
        let claim = Claim::new(until);
        self.leases.insert(key, Stage::Running(claim.clone()));
        claim
    }

    /// The queue has extended a lease.
    pub(crate) fn extend(&self, key: &LeaseKey, until: Instant) {
        if let Some(Stage::Running(claim)) = self.leases.get(key) {
            claim.extend(until);
        }
    }

    /// Notes how the work ended. True when a settlement is owed now; false when the lease
    /// is lost: then it is gone from here.
    pub(crate) fn finish(&mut self, key: &LeaseKey, outcome: settlement::Outcome, settling: Span) -> bool {
        match self.leases.get_mut(key) {
            Some(stage @ Stage::Running(_)) => {
                *stage = Stage::Owed(outcome, settling);
                self.owed += 1;
                true
            }
            Some(Stage::Owed(..)) => true,
            Some(Stage::Lost) | None => {
                self.leases.remove(key);
                false
            }
        }
    }

    /// The queue says that a lease is not ours any more, and why. Answers whether a handler worked on it.
    pub(crate) fn lose(&mut self, key: &LeaseKey, reason: CancelReason) -> bool {
        match self.leases.get_mut(key) {
            Some(stage @ Stage::Running(_)) => {
                if let Stage::Running(claim) = std::mem::replace(stage, Stage::Lost) {
                    claim.cancellation.cancel(reason);
                }
                true
            }
            Some(Stage::Lost | Stage::Owed(..)) | None => false,
        }
    }

    /// The queue answered a settlement: nothing is owed any more. Answers what was, and the span that ends with it.
    pub(crate) fn settled(&mut self, key: &LeaseKey) -> Option<(settlement::Outcome, Span)> {
        match self.leases.get(key) {
            Some(Stage::Owed(..)) => {}
            _ => return None,
        }
        self.owed -= 1;
        match self.leases.remove(key) {
            Some(Stage::Owed(outcome, settling)) => Some((outcome, settling)),
            _ => None,
        }
    }

    /// The leases to keep alive. What is owed needs none: it is settled as soon as the queue hears of it.
    pub(crate) fn running(&self) -> Vec<LeaseKey> {
        let running = self.leases.iter().filter(|(_, stage)| matches!(stage, Stage::Running(_)));
        running.map(|(key, _)| key.clone()).collect()
    }

    /// Whether a handler works on it, or soon will.
    pub(crate) fn is_running(&self, key: &LeaseKey) -> bool {
        matches!(self.leases.get(key), Some(Stage::Running(_)))
    }

    /// What is owed to the queue.
    pub(crate) fn owed(&self) -> Vec<LeaseKey> {
        let owed = self.leases.iter().filter(|(_, stage)| matches!(stage, Stage::Owed(..)));
        owed.map(|(key, _)| key.clone()).collect()
    }

    /// The message that settles a lease; none when nothing is owed for it.
    pub(crate) fn settlement(&self, key: &LeaseKey) -> Option<Settlement> {
        let Some(Stage::Owed(outcome, _)) = self.leases.get(key) else { return None };
        Some(Settlement { lease: Some(key.to_wire()), outcome: Some(outcome.clone()) })
    }

    /// All leases, owed ones included.
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How many results are owed.
    pub(crate) fn owes(&self) -> usize {
        self.owed
    }

    /// How many handlers have a lease, be it lost or not.
    pub(crate) fn occupied(&self) -> usize {
        self.leases.len() - self.owed
    }
}

/// The references of leases on the wire.
pub(crate) fn references(keys: &[LeaseKey]) -> Vec<LeaseRef> {
    keys.iter().map(LeaseKey::to_wire).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token: u64) -> LeaseKey {
        LeaseKey { task_id: "t".to_owned(), token }
    }

    fn completed() -> settlement::Outcome {
        settlement::Outcome::Completed(b"1".as_slice().into())
    }

    #[test]
    fn result_is_owed_until_it_is_answered() {
        let mut held = Held::default();
        held.take(key(1), Instant::now());
        assert!(held.finish(&key(1), completed(), Span::none()));
        assert_eq!((held.owed(), held.running()), (vec![key(1)], vec![]));
        assert_eq!(held.settled(&key(1)).unwrap().0, completed());
        assert_eq!((held.len(), held.owes(), held.occupied()), (0, 0, 0));
    }

    #[test]
    fn lost_lease_stops_its_handler_and_owes_nothing() {
        let mut held = Held::default();
        let claim = held.take(key(1), Instant::now());
        assert!(held.lose(&key(1), CancelReason::LeaseLost));
        assert_eq!(claim.cancellation.reason(), Some(CancelReason::LeaseLost));
        assert_eq!((held.occupied(), held.running()), (1, vec![]), "its handler still has a place");
        assert!(!held.finish(&key(1), completed(), Span::none()));
        assert_eq!(held.len(), 0);
    }

    #[test]
    fn later_lease_of_the_same_task_is_another() {
        let mut held = Held::default();
        held.take(key(1), Instant::now());
        held.finish(&key(1), completed(), Span::none());
        held.take(key(2), Instant::now());
        assert!(held.settled(&key(1)).is_some());
        assert_eq!(held.running(), [key(2)]);
    }
}
