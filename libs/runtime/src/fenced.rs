//! Commits to a store under a lease: only while it stands for certain, and no later one has written.

use std::time::Duration;

use nova_rpc::Lease;
use nova_storage::{Commit, CommitError, Error, Fence, Kv, Revision, fence};
use nova_types::Clock;
use tokio::time::Instant;

/// Proofs of leases last for seconds; clocks are never that wrong.
const MARKS_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Commits; under a lease, if there is one. Where the store is away, the commit may be long on its way: it does not land
/// once the lease's proof has ended.
///
/// # Errors
/// LEASE_LOST when the lease does not stand any more, and UNAVAILABLE when its proof ended while the store was away: then
/// nothing was written, and the caller may come with a new proof. Inside, as [`Kv::commit`], where a conflict can also
/// mean that another commit under the lease was faster.
pub async fn commit(
    kv: &dyn Kv,
    lease: Option<&Lease>,
    clock: &dyn Clock,
    commit: Commit,
) -> Result<Result<Revision, CommitError>, nova_rpc::Error> {
    let Some(lease) = lease else { return Ok(kv.commit(commit).await) };
    // Taken before the time, so that what passes between counts.
    let looked = Instant::now();
    let now = clock.now();
    lease.check(now)?;
    let commit = commit.before(looked + lease.not_after.since(now));
    let fence = Fence { of: format!("{}/{}", lease.namespace, lease.task), token: lease.token };
    match fence.commit(kv, commit, now.micros()).await {
        Ok(Ok(revision)) => Ok(Ok(revision)),
        Ok(Err(overtaken)) => Err(lease.overtaken(overtaken.by)),
        Err(CommitError::Store(Error::TooLate)) => Err(too_late(lease)),
        Err(error) => Ok(Err(error)),
    }
}

/// The lease itself may well stand: who holds it gets another proof.
fn too_late(lease: &Lease) -> nova_rpc::Error {
    let message = format!(
        "the store took until the proof of the lease {} of task {} had ended, and wrote nothing",
        lease.token, lease.task
    );
    nova_rpc::Error::unavailable("store", message)
}

/// Forgets the marks of leases that ended long ago. Returns how many.
///
/// # Errors
/// See [`fence::sweep`].
pub async fn sweep(kv: &dyn Kv, clock: &dyn Clock) -> Result<usize, Error> {
    let before = clock.now() - MARKS_KEPT;
    fence::sweep(kv, before.micros()).await
}

#[cfg(test)]
mod tests {
    use nova_storage::SqliteKv;
    use nova_types::{HeldClock, Namespace, SpiffeId, TaskId, Timestamp};

    use super::*;

    const START: i64 = 1_700_000_000_000_000;

    fn lease(life: Duration) -> Lease {
        Lease {
            namespace: Namespace::default(),
            task: TaskId::new(Timestamp::from_micros(START)),
            attempt: 1,
            token: 7,
            holder: SpiffeId::parse("holder", "spiffe://nova.local/agent/orion").unwrap(),
            not_after: Timestamp::from_micros(START) + life,
        }
    }

    fn kv() -> (tempfile::TempDir, SqliteKv) {
        let folder = tempfile::tempdir().unwrap();
        let kv = SqliteKv::open(&folder.path().join("kv.db")).unwrap();
        (folder, kv)
    }

    #[tokio::test]
    async fn a_commit_that_reaches_the_store_after_the_proof_has_ended_writes_nothing_and_may_be_repeated() {
        let (_folder, kv) = kv();
        let clock = HeldClock::at(Timestamp::from_micros(START));
        let put = || Commit::new().put("k", "v");
        // The clock is held: by it, the proof is good for ever.
        let brief = lease(Duration::from_micros(1));
        let late = commit(&kv, Some(&brief), &clock, put()).await.unwrap_err();
        assert_eq!(late.code(), tonic::Code::Unavailable);
        assert!(kv.scan("").await.unwrap().is_empty());
        let long = lease(Duration::from_secs(3_600));
        commit(&kv, Some(&long), &clock, put()).await.unwrap().unwrap();
        assert!(kv.get("k").await.unwrap().is_some());
    }
}
