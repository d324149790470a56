//! Queues of agents: the workflow engine fills them, agents empty them, nobody else comes near.

use nova_proto::queue::v1::{self as pb, queue_service_client::QueueServiceClient};
use nova_runtime::testing::TestServer;
use tonic::Code;

use crate::harness::{Client, Home, ask, enqueue, fail, refused, task};

const QUEUE: &str = "agents.can.shell";

fn client_as(server: &TestServer, role: &str) -> Client {
    QueueServiceClient::new(server.channel_as("user/somebody", &[role]))
}

fn reserved_task() -> pb::EnqueueRequest {
    enqueue(vec![task("ordinary"), pb::NewTask { queue: QUEUE.into(), ..task("reserved") }])
}

fn reserved_lease() -> pb::LeaseRequest {
    pb::LeaseRequest { queues: vec!["q".into(), QUEUE.into()], max_tasks: 2, ..ask() }
}

pub(crate) async fn queues_of_agents_are_filled_by_the_engine_and_emptied_by_agents(home: &Home) {
    let server = home.serve().await;
    for role in ["worker", "operator", "developer", "agent", "daemon"] {
        let answer = client_as(&server, role).enqueue(reserved_task()).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    for role in ["worker", "operator", "developer", "lifecycle", "daemon"] {
        let mut client = client_as(&server, role);
        refused(client.lease(reserved_lease()).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let mut stream = client.work(tokio_stream::iter([opened(QUEUE)])).await.unwrap().into_inner();
        refused(stream.message().await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    client_as(&server, "lifecycle").enqueue(reserved_task()).await.unwrap();
    let leases = client_as(&server, "agent").lease(reserved_lease()).await.unwrap().into_inner().leases;
    assert_eq!(leases.len(), 2, "what was refused left nothing");
}

pub(crate) async fn the_queue_of_one_agent_is_emptied_by_no_other(home: &Home) {
    let server = home.serve().await;
    let of_orion = || vec!["agents.id.orion".to_owned()];
    let task = pb::NewTask { queue: of_orion().remove(0), ..task("for orion") };
    client_as(&server, "lifecycle").enqueue(enqueue(vec![task])).await.unwrap();
    let ask = || pb::LeaseRequest { queues: of_orion(), ..ask() };
    for other in ["agent/vega", "agent/orio", "user/orion"] {
        let mut other = QueueServiceClient::new(server.channel_as(other, &["agent"]));
        refused(other.lease(ask()).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let mut stream = other.work(tokio_stream::iter([opened(&of_orion()[0])])).await.unwrap().into_inner();
        refused(stream.message().await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let mut orion = QueueServiceClient::new(server.channel_as("agent/orion", &[]));
    assert_eq!(orion.lease(ask()).await.unwrap().into_inner().leases.len(), 1);
}

pub(crate) async fn nobody_but_the_engine_gives_a_task_of_an_agent_another_life(home: &Home) {
    let server = home.serve().await;
    client_as(&server, "lifecycle").enqueue(reserved_task()).await.unwrap();
    let mut agent = client_as(&server, "agent");
    let leases = agent.lease(reserved_lease()).await.unwrap().into_inner().leases;
    let of_an_agent = |lease: &&pb::Lease| lease.task.as_ref().is_some_and(|task| task.queue == QUEUE);
    let lease = leases.iter().find(of_an_agent).unwrap();
    let task_id = lease.task.as_ref().unwrap().id.clone();
    agent.fail(pb::FailRequest { permanent: true, ..fail(lease) }).await.unwrap();
    let by_id = pb::RedriveTasksRequest { task_ids: vec![task_id], ..Default::default() };
    let by_queue = pb::RedriveTasksRequest { queue: QUEUE.into(), ..Default::default() };
    for role in ["operator", "developer"] {
        for request in [by_id.clone(), by_queue.clone()] {
            let answer = client_as(&server, role).redrive_tasks(request).await;
            refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    }
    let redriven = client_as(&server, "lifecycle").redrive_tasks(by_queue).await.unwrap().into_inner();
    assert_eq!(redriven.count, 1);
}

fn opened(queue: &str) -> pb::WorkRequest {
    let open = pb::WorkOpen { queues: vec![queue.into()], worker: "w".into(), ..Default::default() };
    pb::WorkRequest { message: Some(pb::work_request::Message::Open(open)) }
}
