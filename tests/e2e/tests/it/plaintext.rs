//! Daemons that also listen without TLS, on loopback: the same guard, and a bearer token as the only proof.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nova_client::{Mesh, ON_BEHALF_OF};
use nova_e2e::callers::Callers;
use nova_proto::memory::v1::{MemoryKind, PutMemoryRequest};
use nova_proto::queue::v1::{
    CompleteRequest, EnqueueRequest, Lease, LeaseRef, LeaseRequest, NewTask, PauseQueueRequest,
};
use nova_testkit::Nova;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

const QUEUE: &str = "unencrypted";

#[test]
fn without_tls_nobody_is_somebody_without_a_token() {
    let callers = Callers::of_a_mesh(&["--plaintext"]);
    let anonymous = callers.bearer_at(None, callers.plaintext_endpoints());
    let refused = callers.block_on(anonymous.queue().enqueue(one_task())).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    // Only the certificate of a daemon makes a call another's.
    let mut borrowed = Request::new(one_task());
    borrowed
        .metadata_mut()
        .insert(ON_BEHALF_OF, MetadataValue::from_static("spiffe://nova.local/user/operator"));
    let refused = callers.block_on(anonymous.queue().enqueue(borrowed)).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
}

#[test]
fn without_tls_policy_decides_on_whoever_a_token_names() {
    let callers = Callers::of_a_mesh(&["--plaintext"]);
    let developer = with_role(&callers, "developer");
    callers.block_on(developer.queue().enqueue(one_task())).unwrap();
    let pause = PauseQueueRequest { queue: QUEUE.into(), ..Default::default() };
    let denied = callers.block_on(developer.queue().pause_queue(pause)).unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied:?}");
    assert_eq!(denied.get_details_error_info().unwrap().reason, "PERMISSION_DENIED");
}

#[test]
fn without_tls_a_worker_works_and_shows_its_lease_to_other_daemons() {
    let callers = Callers::of_a_mesh(&["--plaintext"]);
    let worker = with_role(&callers, "worker");
    callers.block_on(worked(&worker));
}

async fn worked(worker: &Mesh) {
    worker.queue().enqueue(one_task()).await.unwrap();
    let lease = leased(worker).await;
    let task = lease.task.as_ref().unwrap();
    let under = worker.under_lease("", &task.id, lease.token);
    under.memory().put_memory(memory()).await.unwrap();
    let held = LeaseRef { task_id: task.id.clone(), token: lease.token };
    let complete = CompleteRequest { lease: Some(held), ..Default::default() };
    worker.queue().complete(complete).await.unwrap();
}

#[test]
fn an_address_that_others_can_reach_is_refused_by_name() {
    let nova = Nova::new();
    for address in ["0.0.0.0:7201", "[::]:7201"] {
        let set = format!("runtime.listen_plaintext={address}");
        let refused = nova.run(&["serve", "queue", "--set", &set]);
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(&format!("{address} is not on loopback")), "{}", refused.stderr);
        assert!(refused.stderr.contains("listen_plaintext"), "{}", refused.stderr);
    }
}

fn with_role(callers: &Callers, role: &str) -> Mesh {
    callers.worker("w", &[role], callers.plaintext_endpoints())
}

fn one_task() -> EnqueueRequest {
    let task = NewTask { queue: QUEUE.into(), kind: "k".into(), ..Default::default() };
    EnqueueRequest { tasks: vec![task], ..Default::default() }
}

async fn leased(worker: &Mesh) -> Lease {
    let request =
        LeaseRequest { queues: vec![QUEUE.into()], worker: "w".into(), max_tasks: 1, ..Default::default() };
    worker.queue().lease(request).await.unwrap().into_inner().leases.remove(0)
}

fn memory() -> PutMemoryRequest {
    PutMemoryRequest {
        kind: MemoryKind::Episodic.into(),
        text: "said without TLS".into(),
        ..Default::default()
    }
}
