//! Flows, unique tasks, deadlines and snoozes, as a client sees them.

use nova_proto::queue::v1 as pb;
use pb::TaskState;
use tonic::Code;

use crate::harness::{
    Client, Home, ask, client, complete, enqueue, eventually, fail, get, millis, put, refer, refused,
    seconds, take, task,
};

fn after(parents: &[&String]) -> pb::NewTask {
    pb::NewTask { after: parents.iter().map(|id| (*id).clone()).collect(), ..task("child") }
}

async fn finish(client: &mut Client) -> String {
    let lease = take(client, ask()).await;
    client.complete(complete(&lease, "r")).await.unwrap();
    refer(&lease).task_id
}

pub(crate) async fn a_flow_runs_in_order_across_restarts(home: &Home) {
    let server = home.serve().await;
    let after_index = |index| pb::NewTask { after_index: vec![index], ..task("t") };
    let flow = enqueue(vec![task("t"), after_index(0), after_index(1)]);
    let stored = client(&server).enqueue(flow).await.unwrap().into_inner().tasks;
    let last = get(&mut client(&server), &stored[2].id).await;
    assert_eq!(
        (last.state(), last.blocked_by, &last.after),
        (TaskState::Waiting, 1, &vec![stored[1].id.clone()])
    );
    server.stop().await;
    for receipt in stored {
        let server = home.serve().await;
        assert_eq!(finish(&mut client(&server)).await, receipt.id);
        server.stop().await;
    }
}

pub(crate) async fn a_failed_parent_decides_over_those_that_wait_for_it(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let parent = put(&mut client, task("parent")).await;
    let strict = put(&mut client, after(&[&parent])).await;
    let cleanup = put(&mut client, pb::NewTask { run_after_failure: true, ..after(&[&parent]) }).await;
    let lease = take(&mut client, ask()).await;
    client.fail(pb::FailRequest { permanent: true, ..fail(&lease) }).await.unwrap();
    assert_eq!(finish(&mut client).await, cleanup);
    assert_eq!(get(&mut client, &strict).await.state(), TaskState::Waiting);
    let purge = pb::PurgeTasksRequest { task_ids: vec![parent.clone()], ..Default::default() };
    assert_eq!(client.purge_tasks(purge).await.unwrap().into_inner().count, 1);
    let cancelled = eventually(&mut client, &strict, TaskState::Cancelled).await;
    assert_eq!(cancelled.last_error.unwrap().reason, "PARENT_FAILED");
    let unknown = client.enqueue(enqueue(vec![task("t"), after(&[&strict, &parent])])).await;
    let message = unknown.as_ref().unwrap_err().message().to_owned();
    refused(unknown, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert!(message.contains("tasks[1].after[1]"), "{message}");
}

pub(crate) async fn a_unique_task_is_stored_once_while_it_lives(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let unique = || pb::NewTask { unique_key: "invoice-7".into(), unique_for: seconds(60), ..task("t") };
    let stored = client.enqueue(enqueue(vec![unique(), unique()])).await.unwrap().into_inner().tasks;
    assert_eq!((stored[0].duplicate, stored[1].duplicate), (false, true));
    assert_eq!(stored[0].id, stored[1].id);
    assert_eq!(get(&mut client, &stored[0].id).await.unique_key, "invoice-7");
    finish(&mut client).await;
    assert_ne!(put(&mut client, unique()).await, stored[0].id);
}

pub(crate) async fn a_task_dies_at_its_deadline(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, pb::NewTask { deadline: millis(300), ..task("t") }).await;
    let lease = take(&mut client, ask()).await;
    assert!(lease.task.as_ref().unwrap().deadline_time.is_some());
    let dead = eventually(&mut client, &id, TaskState::Dead).await;
    assert_eq!(dead.last_error.unwrap().reason, "DEADLINE_EXCEEDED");
    let beat = pb::HeartbeatRequest { leases: vec![refer(&lease)], ..Default::default() };
    let beat = client.heartbeat(beat).await.unwrap().into_inner().results.remove(0);
    assert!(beat.lost && !beat.cancelled);
    refused(client.complete(complete(&lease, "late")).await, Code::FailedPrecondition, "LEASE_LOST");
}

pub(crate) async fn a_released_task_may_be_put_off(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let lease = take(&mut client, ask()).await;
    let release = pb::ReleaseRequest { lease: Some(refer(&lease)), delay: millis(100), ..Default::default() };
    client.release(release).await.unwrap();
    let waits = get(&mut client, &id).await;
    assert_eq!((waits.state(), waits.attempts), (TaskState::Waiting, 0));
    assert_eq!(take(&mut client, ask()).await.attempt, 1);
}
