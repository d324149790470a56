//! The lease that a call is made under, and what is left of its worth.
//!
//! A worker that changes something for a task shows the queue's word that it holds the task's lease: a signed proof in
//! the metadata `nova-lease`. The guard verifies it before the call is served; a service that changes something checks
//! it again with its write. What a service calls for the caller is made under the same lease.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use nova_types::{Namespace, SpiffeId, TaskId, Timestamp};

use crate::{Caller, Error, Reason};

/// Header of a call that is made under a lease.
pub const HEADER: &str = "nova-lease";
/// Longest that a proof is good.
pub const LONGEST: Duration = Duration::from_secs(10);
/// The queue hands a task on only so long after its last proof has ended: more than the clocks of two daemons differ,
/// and a write takes, together.
pub const MARGIN: Duration = Duration::from_secs(2);
/// Longest proof that is looked at, in bytes.
const LARGEST: usize = 8 << 10;

/// A lease that the queue has vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Namespace of the task.
    pub namespace: Namespace,
    /// The task.
    pub task: TaskId,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Fencing token: grows with every lease that is ever given.
    pub token: u64,
    /// Who may show the proof.
    pub holder: SpiffeId,
    /// No other worker has the task before this time, nor for [`MARGIN`] after it.
    pub not_after: Timestamp,
}

impl Lease {
    /// Whether the lease still stands for certain; to be asked as late before a write as can be.
    ///
    /// # Errors
    /// LEASE_LOST when its proof has ended.
    pub fn check(&self, now: Timestamp) -> Result<(), Error> {
        if now < self.not_after {
            return Ok(());
        }
        let message = format!(
            "the proof of the lease {} of task {} ended at {}: get a new one, or stop working",
            self.token, self.task, self.not_after
        );
        Err(self.lost(message))
    }

    /// LEASE_LOST: a later lease of the task has written here already.
    pub fn overtaken(&self, by: u64) -> Error {
        let message =
            format!("task {} is under the lease {by} by now, not {}: stop working", self.task, self.token);
        self.lost(message)
    }

    fn lost(&self, message: String) -> Error {
        Error::precondition(Reason::LeaseLost, message).with_resource("nova.queue.v1.Task", self.task)
    }

    /// Who was not given the proof may not show it; a daemon passes it on with the calls that it makes for others.
    fn check_holder(&self, caller: &Caller) -> Result<(), Error> {
        if caller.spiffe_id.as_ref() == Some(&self.holder) || caller.has_role("daemon") {
            return Ok(());
        }
        Err(Error::unauthenticated(format!(
            "the lease proof was given to {}, not to the caller",
            self.holder
        )))
    }
}

/// Verifies proofs; with what, `runtime` knows.
pub trait LeaseVerifier: Send + Sync + Debug {
    /// The lease that a proof names, whether it has ended or not; UNAUTHENTICATED when the queue did not sign it.
    fn verify(&self, proof: &str) -> Result<Arc<Lease>, Error>;

    /// The time that leases are checked against.
    fn now(&self) -> Timestamp;
}

/// Takes no proof: for a guard that was given no verifier.
#[derive(Debug)]
pub(crate) struct NoVerifier;

impl LeaseVerifier for NoVerifier {
    fn verify(&self, _: &str) -> Result<Arc<Lease>, Error> {
        Err(Error::unauthenticated("this daemon cannot verify lease proofs"))
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// The lease that a call is made under, if it shows one.
pub(crate) fn shown(
    head: &http::request::Parts,
    caller: &Caller,
    verifier: &dyn LeaseVerifier,
) -> Result<Option<Arc<Lease>>, Error> {
    let Some(header) = head.headers.get(HEADER) else { return Ok(None) };
    let proof = header.to_str().ok().filter(|proof| proof.len() <= LARGEST);
    let proof = proof.ok_or_else(|| Error::unauthenticated("the lease proof is no proof"))?;
    let lease = verifier.verify(proof)?;
    lease.check_holder(caller)?;
    lease.check(verifier.now())?;
    Ok(Some(lease))
}

/// The lease of a call that changes something which is made by agents only while they work on a task: an agent that has
/// lost its lease must not write by leaving its proof out.
///
/// # Errors
/// LEASE_REQUIRED for an agent that shows none.
pub fn of_agents<T>(request: &tonic::Request<T>) -> Result<Option<Arc<Lease>>, Error> {
    let lease = lease(request);
    if lease.is_none() && crate::caller(request).agent_id().is_some() {
        let message = "an agent changes this only under the lease of a task: send its proof as nova-lease";
        return Err(Error::precondition(Reason::LeaseRequired, message));
    }
    Ok(lease)
}

/// The lease that a request was made under; it was good when the request came in.
pub fn lease<T>(request: &tonic::Request<T>) -> Option<Arc<Lease>> {
    request.extensions().get::<Arc<Lease>>().cloned()
}

tokio::task_local! {
    static UNDER: Option<HeaderValue>;
}

/// Runs `work` so that the calls it makes show this proof.
pub async fn under<T>(proof: Option<HeaderValue>, work: impl Future<Output = T>) -> T {
    UNDER.scope(proof, work).await
}

/// The proof that calls made by this code should show.
pub fn passed_on() -> Option<HeaderValue> {
    UNDER.try_with(Clone::clone).ok().flatten()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tonic::Code;

    use super::*;

    const ENDS: i64 = 1_700_000_000_000_000;

    /// Knows the proof `good`, at a time.
    #[derive(Debug)]
    struct At(i64);

    impl LeaseVerifier for At {
        fn verify(&self, proof: &str) -> Result<Arc<Lease>, Error> {
            match proof {
                "good" => Ok(Arc::new(good())),
                _ => Err(Error::unauthenticated("forged")),
            }
        }

        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0)
        }
    }

    fn good() -> Lease {
        Lease {
            namespace: Namespace::default(),
            task: TaskId::parse("task", "0198c0de-0000-7000-8000-000000000000").unwrap(),
            attempt: 1,
            token: 7,
            holder: id("spiffe://nova.local/worker/a"),
            not_after: Timestamp::from_micros(ENDS),
        }
    }

    fn id(text: &str) -> SpiffeId {
        SpiffeId::parse("id", text).unwrap()
    }

    fn show(proof: &str, caller: &str, now: i64) -> Result<Option<Arc<Lease>>, Error> {
        let (head, ()) = Request::builder().header(HEADER, proof).body(()).unwrap().into_parts();
        let id = id(caller);
        let caller =
            Caller { roles: crate::authentication::roles_of(&id), spiffe_id: Some(id), ..Caller::default() };
        shown(&head, &caller, &At(now))
    }

    #[test]
    fn a_good_proof_gives_its_lease_to_its_holder_and_to_daemons() {
        for caller in ["spiffe://nova.local/worker/a", "spiffe://nova.local/svc/lifecycle"] {
            assert_eq!(show("good", caller, ENDS - 1).unwrap().as_deref(), Some(&good()));
        }
    }

    #[test]
    fn a_proof_that_has_ended_is_a_lost_lease() {
        let error = show("good", "spiffe://nova.local/worker/a", ENDS).unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, Reason::LeaseLost));
    }

    #[test]
    fn a_proof_of_another_or_of_nobody_is_refused() {
        for (proof, caller) in
            [("good", "worker/b"), ("good", "agent/a"), ("forged", "worker/a"), ("", "worker/a")]
        {
            let error = show(proof, &format!("spiffe://nova.local/{caller}"), 0).unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{proof} of {caller}");
        }
    }

    #[tokio::test]
    async fn work_under_a_lease_passes_its_proof_on() {
        assert_eq!(passed_on(), None);
        let proof = HeaderValue::from_static("good");
        assert_eq!(under(Some(proof.clone()), async { passed_on() }).await, Some(proof));
    }
}
