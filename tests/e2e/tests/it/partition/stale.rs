//! A task with a lease that is lost without its worker knowing, what that worker may say, and that none of it lands.

use std::time::Duration;

use futures::FutureExt as _;
use nova_client::Mesh;
use nova_proto::lifecycle::v1::{
    AgentState, GetAgentRequest, GetSessionRequest, RegisterAgentRequest, Session, SetAgentStateRequest,
    StartSessionRequest, UpdateSessionRequest,
};
use nova_proto::memory::v1::{MemoryKind, PutMemoryRequest, SearchMemoriesRequest};
use nova_proto::queue::v1::{
    CompleteRequest, EnqueueRequest, GetTaskRequest, HeartbeatRequest, Lease, LeaseProof, LeaseRef,
    LeaseRequest, NewTask, ProveLeasesRequest,
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

const QUEUE: &str = "fenced";
const AGENT: &str = "orion";
/// Long enough to begin with on a slow machine; the test waits for its end.
pub(super) const LEASE: i64 = 4;
/// What is said into a line that is cut waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a worker must be allowed to do all that a stale one tries.
pub(super) const ROLES: [&str; 2] = ["worker", "operator"];

/// An agent with a session, a task, and connections that stand; answers the session's id.
pub(super) async fn prepare(mesh: &Mesh) -> String {
    let agent = RegisterAgentRequest { agent_id: AGENT.into(), role: "auditor".into(), ..Default::default() };
    mesh.agents().register_agent(agent).await.unwrap();
    let session = StartSessionRequest { agent_id: AGENT.into(), ..Default::default() };
    let session = mesh.sessions().start_session(session).await.unwrap().into_inner().session.unwrap();
    assert!(texts(mesh).await.is_empty());
    let task = NewTask { queue: QUEUE.into(), kind: "k".into(), ..Default::default() };
    mesh.queue().enqueue(EnqueueRequest { tasks: vec![task], ..Default::default() }).await.unwrap();
    session.id
}

/// Everything that the first worker may say of its task, with its old proof; the answers.
pub(super) async fn say_all(
    mesh: &Mesh,
    lost: &Lease,
    proof: &LeaseProof,
    session: &str,
) -> Vec<Result<(), Status>> {
    let starting = SetAgentStateRequest {
        agent_id: AGENT.into(),
        state: AgentState::Starting.into(),
        ..Default::default()
    };
    let context = Session { context_json: r#"{"stale":true}"#.into(), ..Default::default() };
    let update = UpdateSessionRequest {
        session_id: session.into(),
        session: Some(context),
        update_mask: Some(prost_types::FieldMask { paths: vec!["context_json".into()] }),
        ..Default::default()
    };
    let more = NewTask { queue: QUEUE.into(), kind: "k".into(), ..Default::default() };
    let more = EnqueueRequest { tasks: vec![more], ..Default::default() };
    let named = PutMemoryRequest { request_id: "run/step/1".into(), ..memory("stale") };
    let (mut queue, mut memories) = (mesh.queue(), mesh.memory());
    let (mut other_queue, mut other_memories, mut agents) = (mesh.queue(), mesh.memory(), mesh.agents());
    let (mut third_queue, mut sessions) = (mesh.queue(), mesh.sessions());
    let calls = [
        memories.put_memory(showing(proof, memory("stale"))).map(dropped).boxed(),
        other_memories.put_memory(showing(proof, named)).map(dropped).boxed(),
        agents.set_agent_state(showing(proof, starting)).map(dropped).boxed(),
        sessions.update_session(showing(proof, update)).map(dropped).boxed(),
        queue.complete(patient(complete(lost, "stale"))).map(dropped).boxed(),
        other_queue.enqueue(showing(proof, more)).map(dropped).boxed(),
        beat(&mut third_queue, lost).boxed(),
    ];
    futures::future::join_all(calls).await
}

/// A heartbeat tells that the lease is lost without failing.
async fn beat(
    queue: &mut nova_proto::queue::v1::queue_service_client::QueueServiceClient<nova_client::Channel>,
    lost: &Lease,
) -> Result<(), Status> {
    let request = HeartbeatRequest { leases: vec![refer(lost)], ..Default::default() };
    let answer = queue.heartbeat(patient(request)).await?.into_inner();
    if answer.results[0].lost { Err(lease_lost()) } else { Ok(()) }
}

fn lease_lost() -> Status {
    let details = tonic_types::ErrorDetails::with_error_info("LEASE_LOST", "nova", []);
    Status::with_error_details(Code::FailedPrecondition, "", details)
}

fn dropped<T>(answer: Result<T, Status>) -> Result<(), Status> {
    answer.map(drop)
}

#[track_caller]
pub(super) fn assert_lost(answer: &Result<(), Status>) {
    let status = answer.as_ref().expect_err("a stale worker is refused");
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    assert_eq!(
        (status.code(), reason.as_deref()),
        (Code::FailedPrecondition, Some("LEASE_LOST")),
        "{status}"
    );
}

pub(super) async fn assert_nothing_landed(mesh: &Mesh, session: &str) {
    let agent = GetAgentRequest { agent_id: AGENT.into(), ..Default::default() };
    let agent = mesh.agents().get_agent(agent).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(agent.state(), AgentState::Registered);
    let session = GetSessionRequest { session_id: session.into(), ..Default::default() };
    let session = mesh.sessions().get_session(session).await.unwrap().into_inner().session.unwrap();
    assert_eq!(session.context_json, "{}");
    assert!(texts(mesh).await.iter().all(|text| text != "stale"));
    let queues = mesh.queue().list_queues(nova_proto::queue::v1::ListQueuesRequest::default()).await.unwrap();
    let queues = queues.into_inner().queues;
    let stored: u64 =
        queues.iter().map(|queue| queue.waiting + queue.ready + queue.leased + queue.completed).sum();
    assert_eq!(stored, 1, "a stale worker has enqueued nothing");
}

pub(super) fn under(mesh: &Mesh, lease: &Lease) -> Mesh {
    let LeaseRef { task_id, token } = refer(lease);
    mesh.under_lease("", &task_id, token)
}

fn refer(lease: &Lease) -> LeaseRef {
    LeaseRef { task_id: lease.task.as_ref().unwrap().id.clone(), token: lease.token }
}

pub(super) async fn lease(mesh: &Mesh, seconds: i64) -> Lease {
    let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let request = LeaseRequest {
        queues: vec![QUEUE.into()],
        worker: "w".into(),
        lease_duration: duration(seconds),
        wait: duration(50),
        ..Default::default()
    };
    let leases = mesh.queue().lease(patient(request)).await.unwrap().into_inner().leases;
    leases.into_iter().next().expect("the task is handed out in time")
}

pub(super) async fn prove(mesh: &Mesh, lease: &Lease) -> LeaseProof {
    let request = ProveLeasesRequest { leases: vec![refer(lease)], ..Default::default() };
    mesh.queue().prove_leases(request).await.unwrap().into_inner().proofs.remove(0)
}

fn complete(lease: &Lease, result: &str) -> CompleteRequest {
    let result = result.as_bytes().to_vec().into();
    CompleteRequest { lease: Some(refer(lease)), result, ..Default::default() }
}

pub(super) fn memory(text: &str) -> PutMemoryRequest {
    PutMemoryRequest { text: text.into(), kind: MemoryKind::Episodic.into(), ..Default::default() }
}

pub(super) async fn put(mesh: &Mesh, text: &str) -> Result<(), Status> {
    mesh.memory().put_memory(memory(text)).await.map(drop)
}

/// All memories, the newest first.
pub(super) async fn texts(mesh: &Mesh) -> Vec<String> {
    let found = mesh.memory().search_memories(SearchMemoriesRequest::default()).await.unwrap();
    found.into_inner().hits.into_iter().map(|hit| hit.memory.unwrap().text).collect()
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

pub(super) fn showing<T>(proof: &LeaseProof, message: T) -> Request<T> {
    let mut request = patient(message);
    request.metadata_mut().insert("nova-lease", proof.proof.parse().unwrap());
    request
}

/// The new owner ends the task, and its result stands.
pub(super) async fn complete_well(mesh: &Mesh, held: &Lease) {
    mesh.queue().complete(complete(held, "second")).await.unwrap();
}

pub(super) async fn assert_completed_well(mesh: &Mesh, held: &Lease) {
    let task = GetTaskRequest { task_id: refer(held).task_id, ..Default::default() };
    let task = mesh.queue().get_task(task).await.unwrap().into_inner().task.unwrap();
    assert_eq!(&task.result[..], b"second");
}
