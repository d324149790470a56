//! Proofs of leases: nobody else has the task while one is good.

use std::time::Duration;

use super::{Home, PATIENCE, Verbs as _, ask, ask_briefly, completed, refer, task};
use crate::{
    record::{Lease, LeaseRequest, Proof},
    store::Store,
    task::after,
};

const MARGIN: Duration = Duration::from_secs(2);

async fn prove(store: &Store, lease: &Lease) -> Option<Proof> {
    store.prove(&"default".into(), vec![refer(lease)]).await.unwrap().remove(0)
}

pub(super) async fn an_expired_task_is_handed_on_only_after_its_proof(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let first = store.take(LeaseRequest { duration: Duration::from_secs(1), ..ask(1) }).await.remove(0);
    let proof = prove(&store, &first).await.expect("the lease is held");
    assert!(proof.duration <= Duration::from_secs(1));
    let second = store.take(LeaseRequest { wait: PATIENCE, ..ask(1) }).await.remove(0);
    assert!(second.task.status.updated >= after(proof.until, MARGIN), "it was handed on too early");
    assert_eq!(prove(&store, &first).await, None);
    assert_eq!(prove(&store, &second).await.map(|proof| proof.attempt), Some(2));
}

pub(super) async fn a_proof_from_before_a_restart_is_waited_for(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let first = store.take(LeaseRequest { duration: Duration::from_secs(1), ..ask(1) }).await.remove(0);
    let proof = prove(&store, &first).await.expect("the lease is held");
    drop(store);
    let store = home.open().await;
    let second = store.take(LeaseRequest { wait: PATIENCE, ..ask(1) }).await.remove(0);
    assert!(second.task.status.updated >= after(proof.until, MARGIN), "it was handed on too early");
}

pub(super) async fn a_task_that_was_not_proven_waits_for_nobody(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let first = store.take(ask_briefly(1)).await.remove(0);
    let second = store.take(LeaseRequest { wait: PATIENCE, ..ask(1) }).await.remove(0);
    assert!(second.task.status.updated < after(first.task.status.expires, MARGIN));
}

pub(super) async fn a_settled_lease_is_not_proven(home: &dyn Home) {
    let store = home.open().await;
    store.put(task("t")).await;
    let lease = store.take_one().await;
    assert!(prove(&store, &lease).await.is_some());
    store.end(refer(&lease), completed("r")).await;
    assert_eq!(prove(&store, &lease).await, None);
}
