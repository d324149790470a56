//! Nobody but the workflow engine has an agent run something: the queues of agents are reserved.

use nova_client::Mesh;
use nova_e2e::callers::Callers;
use nova_proto::queue::v1::{
    EnqueueRequest, LeaseRequest, NewTask, WorkOpen, WorkRequest, work_request::Message,
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
    let request = LeaseRequest {
        queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
        worker: "w".to_owned(),
        max_tasks: 10,
        ..LeaseRequest::default()
    };
    mesh.queue().lease(request).await.map(|answer| answer.into_inner().leases.len())
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
