//! Nobody but the workflow engine has an agent run something, nor ends a task that another holds: the queues of agents are
//! reserved, and a lease is its holder's alone.

use nova_client::Mesh;
use nova_e2e::callers::Callers;
use nova_proto::queue::v1::{
    CompleteRequest, EnqueueRequest, Lease, LeaseRef, LeaseRequest, NewTask, WorkOpen, WorkRequest,
    work_request::Message,
};
use tonic::{Code, Status};

const AGENTS: [&str; 2] = ["agents.can.shell", "agents.id.orion"];
const ORDINARY: &str = "images";

#[test]
fn a_worker_reaches_no_queue_of_an_agent_and_any_other_one() {
    let callers = Callers::of_a_new_mesh();
    let worker = callers.with_roles(&["worker"]);
    for queue in AGENTS {
        assert_reserved(queue, callers.block_on(enqueue(&worker, &[ORDINARY, queue])));
        assert_reserved(queue, callers.block_on(lease(&worker, &[ORDINARY, queue])).map(drop));
        assert_reserved(queue, callers.block_on(work(&worker, queue)));
    }
    callers.block_on(enqueue(&worker, &[ORDINARY])).unwrap();
    let leased = callers.block_on(lease(&worker, &[ORDINARY])).unwrap();
    assert_eq!(leased, 1, "what came with a refused task was not kept");
}

#[test]
fn an_operator_has_no_agent_run_anything_either() {
    let callers = Callers::of_a_new_mesh();
    let operator = callers.operator();
    for queue in AGENTS {
        assert_reserved(queue, callers.block_on(enqueue(&operator, &[queue])));
        let leased = callers.block_on(lease(&operator, &[queue]));
        assert_eq!(leased.unwrap_err().code(), Code::PermissionDenied, "{queue}");
    }
    callers.block_on(enqueue(&operator, &[ORDINARY])).unwrap();
}

#[test]
fn a_worker_ends_no_task_that_another_holds() {
    let callers = Callers::of_a_new_mesh();
    let [holder, other] = ["w", "v"].map(|name| callers.worker(name, &["worker"], callers.endpoints()));
    callers.block_on(enqueue(&holder, &[ORDINARY])).unwrap();
    let lease = callers.block_on(leases(&holder, &[ORDINARY])).unwrap().remove(0);
    let forged = callers.block_on(complete(&other, lease.clone())).unwrap_err();
    assert_eq!(forged.code(), Code::FailedPrecondition, "{forged:?}");
    assert!(forged.message().ends_with("is no longer held"), "{forged:?}");
    callers.block_on(complete(&holder, lease)).unwrap();
}

async fn enqueue(mesh: &Mesh, queues: &[&str]) -> Result<(), Status> {
    let task = |queue: &&str| NewTask {
        queue: (*queue).to_owned(),
        kind: "shell".to_owned(),
        payload: br#"{"with": {"run": "id"}}"#.to_vec().into(),
        ..NewTask::default()
    };
    let tasks = queues.iter().map(task).collect();
    mesh.queue().enqueue(EnqueueRequest { tasks, ..EnqueueRequest::default() }).await.map(drop)
}

/// How many tasks were given.
async fn lease(mesh: &Mesh, queues: &[&str]) -> Result<usize, Status> {
    leases(mesh, queues).await.map(|given| given.len())
}

async fn leases(mesh: &Mesh, queues: &[&str]) -> Result<Vec<LeaseRef>, Status> {
    let request = LeaseRequest {
        queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
        worker: "w".to_owned(),
        max_tasks: 10,
        ..LeaseRequest::default()
    };
    let given = mesh.queue().lease(request).await?.into_inner().leases.into_iter();
    let refer =
        |lease: Lease| LeaseRef { task_id: lease.task.expect("a lease has its task").id, token: lease.token };
    Ok(given.map(refer).collect())
}

async fn complete(mesh: &Mesh, lease: LeaseRef) -> Result<(), Status> {
    let request = CompleteRequest { lease: Some(lease), ..CompleteRequest::default() };
    mesh.queue().complete(request).await.map(drop)
}

/// Opens a stream of work, and waits for what it says first.
async fn work(mesh: &Mesh, queue: &str) -> Result<(), Status> {
    let open =
        WorkOpen { queues: vec![queue.to_owned()], worker: "w".to_owned(), credit: 1, ..WorkOpen::default() };
    let messages = tokio_stream::iter([WorkRequest { message: Some(Message::Open(open)) }]);
    mesh.queue().work(messages).await?.into_inner().message().await.map(drop)
}

#[track_caller]
fn assert_reserved(queue: &str, answer: Result<(), Status>) {
    let status = answer.expect_err(queue);
    assert_eq!(status.code(), Code::PermissionDenied, "{queue}: {status:?}");
    let told = format!("queue {queue:?} is reserved for agents: only the role");
    assert!(status.message().starts_with(&told), "{queue}: {}", status.message());
}
