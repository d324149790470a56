//! The lease that calls are made under: its proof, got from the queue when the first call needs it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use nova_proto::queue::v1::queue_service_client::QueueServiceClient;
use nova_proto::queue::v1::{LeaseProof, LeaseRef, ProveLeasesRequest};
use nova_rpc::{Reason, trace};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Status;

use crate::Channel;

/// A lease that this process holds. A proof is asked for when a call needs one, and again when half of its life is over.
#[derive(Clone, Debug)]
pub(crate) struct HeldLease(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: QueueServiceClient<Channel>,
    namespace: String,
    task_id: String,
    token: u64,
    shown: Mutex<Option<Shown>>,
}

#[derive(Debug)]
struct Shown {
    header: HeaderValue,
    renew_at: Instant,
}

impl HeldLease {
    /// The lease `token` of a task; proven by `queue`.
    pub(crate) fn new(
        queue: QueueServiceClient<Channel>,
        namespace: String,
        task_id: String,
        token: u64,
    ) -> Self {
        Self(Arc::new(Shared { queue, namespace, task_id, token, shown: Mutex::default() }))
    }

    /// What a call shows.
    ///
    /// # Errors
    /// LEASE_LOST when the lease is no longer ours; what the queue answers otherwise.
    pub(crate) async fn header(&self) -> Result<HeaderValue, Status> {
        // Held while the queue is asked, so that calls made together ask once.
        let mut shown = self.0.shown.lock().await;
        if let Some(shown) = shown.as_ref().filter(|shown| Instant::now() < shown.renew_at) {
            return Ok(shown.header.clone());
        }
        let fresh = self.prove().await?;
        let header = fresh.header.clone();
        *shown = Some(fresh);
        Ok(header)
    }

    async fn prove(&self) -> Result<Shown, Status> {
        let Shared { namespace, task_id, token, .. } = &*self.0;
        let lease = LeaseRef { task_id: task_id.clone(), token: *token };
        let request = ProveLeasesRequest { namespace: namespace.clone(), leases: vec![lease] };
        let asked = Instant::now();
        let answer = trace::unrecorded(self.0.queue.clone().prove_leases(request)).await?.into_inner();
        let proof = answer.proofs.into_iter().next().filter(|proof| !proof.lost);
        let LeaseProof { proof, duration, .. } = proof.ok_or_else(|| self.lost())?;
        let mut header = HeaderValue::try_from(proof).map_err(|_| self.lost())?;
        header.set_sensitive(true);
        let life = duration.and_then(|life| Duration::try_from(life).ok()).unwrap_or_default();
        Ok(Shown { header, renew_at: asked + life / 2 })
    }

    fn lost(&self) -> Status {
        let message = format!("the lease {} of task {} is lost: stop working", self.0.token, self.0.task_id);
        nova_rpc::Error::precondition(Reason::LeaseLost, message).into()
    }
}
