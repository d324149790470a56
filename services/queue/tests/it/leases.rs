//! Fencing, expiry and waiting.

use nova_proto::queue::v1::{self as pb, queue_service_client::QueueServiceClient};
use nova_runtime::testing::TestServer;
use pb::TaskState;
use tonic::{Code, Request};

use crate::{
    harness::{
        Client, Home, PATIENCE, ask, ask_briefly, client, complete, enqueue, fail, get, millis, put, refer,
        refused, seconds, take, task,
    },
    work::{Worker, completed},
};

/// Somebody else, who may call whatever the holder of a lease may.
pub(crate) fn stranger(server: &TestServer) -> Client {
    QueueServiceClient::new(server.channel_as("worker/stranger", &["operator"]))
}

/// Whether a lease is lost to who calls, in each way to say so that leaves it as it is.
pub(crate) async fn is_lost_to(client: &mut Client, lease: &pb::Lease) -> [bool; 3] {
    let report = pb::LeaseReport {
        lease: Some(refer(lease)),
        checkpoint: Some(b"left".to_vec().into()),
        ..Default::default()
    };
    let beat =
        pb::HeartbeatRequest { leases: vec![refer(lease)], reports: vec![report], ..Default::default() };
    let beats = client.heartbeat(beat).await.unwrap().into_inner().results;
    let prove = pb::ProveLeasesRequest { leases: vec![refer(lease)], ..Default::default() };
    let proofs = client.prove_leases(prove).await.unwrap().into_inner().proofs;
    assert_eq!(proofs[0].lost, proofs[0].proof.is_empty());
    [beats[0].lost, beats[1].lost, proofs[0].lost]
}

/// Who calls can do nothing under a lease, by single calls or on a stream.
pub(crate) async fn is_kept_from(client: &mut Client, lease: &pb::Lease) {
    assert_eq!(is_lost_to(client, lease).await, [true; 3]);
    let code = Code::FailedPrecondition;
    refused(client.complete(complete(lease, "forged")).await, code, "LEASE_LOST");
    refused(client.fail(fail(lease)).await, code, "LEASE_LOST");
    let release = pb::ReleaseRequest { lease: Some(refer(lease)), ..Default::default() };
    refused(client.release(release).await, code, "LEASE_LOST");
    let mut stream = Worker::open(client, 0).await;
    assert!(stream.settle(refer(lease), completed("forged")).await.lost);
    assert!(stream.beat(refer(lease)).await.lost);
}

pub(crate) async fn a_lease_is_its_holders_alone(home: &Home) {
    let server = home.serve().await;
    let id = put(&mut client(&server), task("t")).await;
    let lease = take(&mut client(&server), ask()).await;
    is_kept_from(&mut stranger(&server), &lease).await;
    server.stop().await;
    let server = home.serve().await;
    is_kept_from(&mut stranger(&server), &lease).await;
    let mut holder = client(&server);
    assert!(get(&mut holder, &id).await.checkpoint.is_empty());
    assert_eq!(is_lost_to(&mut holder, &lease).await, [false; 3]);
    holder.complete(complete(&lease, "done")).await.unwrap();
    assert_eq!(&get(&mut holder, &id).await.result[..], b"done");
}

pub(crate) async fn a_stale_token_is_refused_as_lease_lost(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let stale = take(&mut client, ask_briefly()).await;
    let fresh = take(&mut client, ask()).await;
    let code = Code::FailedPrecondition;
    refused(client.complete(complete(&stale, "stale")).await, code, "LEASE_LOST");
    refused(client.fail(fail(&stale)).await, code, "LEASE_LOST");
    let release = pb::ReleaseRequest { lease: Some(refer(&stale)), ..Default::default() };
    refused(client.release(release).await, code, "LEASE_LOST");
    let beat = pb::HeartbeatRequest { leases: vec![refer(&stale), refer(&fresh)], ..Default::default() };
    let beat = client.heartbeat(beat).await.unwrap().into_inner().results;
    assert_eq!((beat[0].lost, beat[1].lost), (true, false));
    client.complete(complete(&fresh, "fresh")).await.unwrap();
    assert_eq!(&get(&mut client, &id).await.result[..], b"fresh");
}

pub(crate) async fn a_held_lease_is_proven_and_a_lost_one_is_not(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    let stale = take(&mut client, ask_briefly()).await;
    let fresh = take(&mut client, ask()).await;
    let leases = vec![refer(&stale), refer(&fresh)];
    let proofs = client.prove_leases(pb::ProveLeasesRequest { leases, ..Default::default() }).await;
    let [lost, held] = proofs.unwrap().into_inner().proofs.try_into().unwrap();
    assert!(lost.lost && lost.proof.is_empty() && lost.duration.is_none());
    assert!(!held.lost && held.task_id == refer(&fresh).task_id && !held.proof.is_empty());
    assert_eq!(held.duration, seconds(10));
}

pub(crate) async fn what_holds_its_task_no_more_enqueues_nothing_under_its_proof(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    let lease = take(&mut client, ask()).await;
    let prove = pb::ProveLeasesRequest { leases: vec![refer(&lease)], ..Default::default() };
    let proof = client.prove_leases(prove).await.unwrap().into_inner().proofs.remove(0).proof;
    let follow = || {
        let mut request = Request::new(enqueue(vec![task("next")]));
        request.metadata_mut().insert(nova_rpc::lease::HEADER, proof.parse().unwrap());
        request
    };
    client.enqueue(follow()).await.unwrap();
    client.complete(complete(&lease, "r")).await.unwrap();
    // The proof is good for seconds yet.
    refused(client.enqueue(follow()).await, Code::FailedPrecondition, "LEASE_LOST");
}

pub(crate) async fn a_repeated_completion_is_answered_as_the_first(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let lease = take(&mut client, ask()).await;
    client.complete(complete(&lease, "first")).await.unwrap();
    client.complete(complete(&lease, "second")).await.unwrap();
    assert_eq!(&get(&mut client, &id).await.result[..], b"first");
}

pub(crate) async fn an_expired_lease_is_given_to_the_next_worker(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let first = take(&mut client, ask_briefly()).await;
    let second = take(&mut client, ask()).await;
    let taken = second.task.clone().unwrap();
    assert_eq!((taken.id.as_str(), second.attempt), (id.as_str(), 2));
    assert!(second.token > first.token);
    assert_eq!(taken.last_error.unwrap().reason, "LEASE_EXPIRED");
}

pub(crate) async fn an_attempt_ends_at_its_timeout(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, pb::NewTask { attempt_timeout: millis(50), ..task("t") }).await;
    take(&mut client, ask()).await;
    let second = take(&mut client, ask()).await;
    let error = second.task.unwrap().last_error.unwrap();
    assert_eq!(error.reason, "ATTEMPT_TIMEOUT");
    assert_eq!(error.message, "the attempt took longer than its timeout of 50ms");
}

pub(crate) async fn a_long_poll_wakes_when_work_arrives(home: &Home) {
    let server = home.serve().await;
    let (mut worker, mut producer) = (client(&server), client(&server));
    let (lease, id) = tokio::join!(take(&mut worker, ask()), put(&mut producer, task("t")));
    let leased = lease.task.unwrap();
    assert_eq!((leased.id.as_str(), leased.state()), (id.as_str(), TaskState::Leased));
}

pub(crate) async fn a_long_poll_ends_with_the_daemon(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    take(&mut client, ask()).await;
    let polling = async {
        let answer = client.lease(ask()).await;
        answer.map(|answer| answer.into_inner().leases.len())
    };
    let both = async { tokio::join!(polling, server.stop()).0 };
    let answer = tokio::time::timeout(PATIENCE, both).await.expect("the poll ends with the daemon");
    assert!(matches!(answer, Ok(0)) || answer.is_err());
}
