//! The model's part on proofs: while one is good, and a margin more, its task is given to nobody else.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::model::Run;
use crate::{
    record::Lease,
    task::{Micros, after},
};

/// Longest that a proof is good.
const LONGEST: Duration = Duration::from_secs(10);

/// What the queue waits after the end of a proof.
const MARGIN: Duration = Duration::from_secs(2);

/// Until when tasks are proven whose workers have not settled them.
#[derive(Debug, Default)]
pub(super) struct ToldOfProofs(BTreeMap<Uuid, Micros>);

impl ToldOfProofs {
    /// The worker of a task has given its word.
    pub(super) fn settled(&mut self, id: Uuid) {
        self.0.remove(&id);
    }

    /// A task is given to another, or what follows it to somebody.
    pub(super) fn given(&mut self, lease: &Lease, now: Micros) {
        let over = |until: Micros| after(until, MARGIN) <= now;
        let proven = self.0.remove(&lease.task.id);
        assert!(proven.is_none_or(over), "a task was given while the lease before was proven");
        for parent in lease.task.spec.terms.iter().flat_map(|terms| &terms.after) {
            let proven = self.0.get(parent).copied();
            assert!(proven.is_none_or(over), "a task was given while one before it was proven");
        }
    }
}

impl Run {
    pub(super) fn prove(&mut self, which: usize) {
        let Some((lease, newest)) = self.pick(which) else { return };
        let Some(proof) = self.core.prove("default", &[lease], self.now)[0] else { return };
        assert!(newest, "a stale token was proven");
        assert!(proof.until > self.now && proof.until <= after(self.now, LONGEST), "a proof too long");
        let ends = self.core.task("default", lease.id).expect("it is held").status.expires;
        assert!(proof.until <= ends, "a proof outlasts its lease");
        let until = self.told.proofs.0.entry(lease.id).or_default();
        *until = proof.until.max(*until);
    }
}
