//! ProveLeases: the queue's word, signed, for the daemons at which a worker changes something.

use nova_proto::queue::v1 as pb;
use nova_rpc::{Caller, lease::Lease};
use nova_runtime::lease_proof::Signer;
use nova_types::{Namespace, TaskId, Timestamp, Violation, wire as check};
use tonic::Status;

use crate::{
    mark::Mark,
    record::{LeaseRef, Proof},
    service::{QueueService, parse, unary::refused, wire},
    task::span,
};

/// Proves leases to the caller, who alone may show what it is given.
pub(super) async fn prove(
    service: &QueueService,
    caller: &Caller,
    request: pb::ProveLeasesRequest,
) -> Result<pb::ProveLeasesResponse, Status> {
    let namespace = Namespace::parse("namespace", &request.namespace).map_err(refused)?;
    let leases = named(&request.leases, Mark::of(caller.name())).map_err(refused)?;
    let holder =
        caller.spiffe_id.as_ref().ok_or_else(|| nova_rpc::Error::unauthenticated("who holds the leases?"))?;
    let signer = Signer::new(service.runtime.clients().credentials())?;
    let words = service.store.prove(&namespace.as_ref().into(), leases.clone()).await?;
    // A proof is no good once the certificate that vouches for it has ended.
    let ends = signer.ends().micros();
    let sign = |(named, word): (&LeaseRef, Option<Proof>)| {
        let task_id = named.id.to_string();
        let Some(word) = word else {
            return Ok(pb::LeaseProof { task_id, lost: true, ..Default::default() });
        };
        let until = word.until.min(ends);
        let lease = Lease {
            namespace: namespace.clone(),
            task: TaskId::from_bytes(*named.id.as_bytes()),
            attempt: word.attempt,
            token: named.token,
            holder: holder.clone(),
            not_after: Timestamp::from_micros(until),
        };
        let duration = word.duration.saturating_sub(span(word.until - until));
        let (expire_time, duration) = (wire::time(until), Some(check::to_duration(duration)));
        Ok(pb::LeaseProof { task_id, lost: false, proof: signer.sign(&lease)?, expire_time, duration })
    };
    let proofs: Result<Vec<_>, nova_rpc::Error> = leases.iter().zip(words).map(sign).collect();
    Ok(pb::ProveLeasesResponse { proofs: proofs? })
}

/// 1 to 1,000 leases.
fn named(wire: &[pb::LeaseRef], mark: Mark) -> Result<Vec<LeaseRef>, Violation> {
    parse::count("leases", wire.len(), 1_000)?;
    parse::leases(wire, mark)
}
