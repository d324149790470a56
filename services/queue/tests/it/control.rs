//! What operators do, by id and by what tasks are like.

use nova_proto::queue::v1 as pb;
use tonic::Code;

use crate::harness::{Client, Home, ask, client, complete, enqueue, fail, get, put, refused, take, task};

/// Tasks of one kind.
fn of_kind(kind: &str) -> Option<pb::TaskFilter> {
    Some(pb::TaskFilter { kind: kind.into(), ..Default::default() })
}

async fn put_many(client: &mut Client, kind: &str, count: usize) {
    let tasks = vec![pb::NewTask { kind: kind.into(), ..task("t") }; count];
    client.enqueue(enqueue(tasks)).await.unwrap();
}

pub(crate) async fn stats(client: &mut Client) -> pb::QueueStats {
    let request = pb::GetQueueRequest { queue: "q".into(), ..Default::default() };
    client.get_queue(request).await.unwrap().into_inner().queue.unwrap().stats.unwrap()
}

pub(crate) async fn tasks_are_cancelled_by_what_they_are_like(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put_many(&mut client, "resize", 700).await;
    put_many(&mut client, "index", 600).await;
    put_many(&mut client, "resize", 700).await;
    let (mut count, mut page_token) = (0, String::new());
    loop {
        let request = pb::CancelTasksRequest {
            queue: "q".into(),
            filter: of_kind("resize"),
            page_token,
            ..Default::default()
        };
        let answer = client.cancel_tasks(request).await.unwrap().into_inner();
        count += answer.count;
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(count, 1_400);
    let stats = stats(&mut client).await;
    assert_eq!((stats.ready, stats.cancelled), (600, 1_400));
    assert_eq!(take(&mut client, ask()).await.task.unwrap().kind, "index");
}

pub(crate) async fn dead_tasks_are_found_redriven_and_purged(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    for _ in 0..2 {
        put(&mut client, task("t")).await;
        let lease = take(&mut client, ask()).await;
        client.fail(pb::FailRequest { permanent: true, ..fail(&lease) }).await.unwrap();
    }
    let broken = Some(pb::TaskFilter { error_reason: "BROKEN".into(), ..Default::default() });
    let dead = pb::ListTasksRequest {
        filter: broken,
        states: vec![pb::TaskState::Dead.into()],
        ..Default::default()
    };
    let found = client.list_tasks(dead).await.unwrap().into_inner().tasks;
    assert_eq!(found.len(), 2);
    let one = pb::RedriveTasksRequest { task_ids: vec![found[0].id.clone()], ..Default::default() };
    assert_eq!(client.redrive_tasks(one).await.unwrap().into_inner().count, 1);
    assert_eq!(get(&mut client, &found[0].id).await.state(), pb::TaskState::Ready);
    let dead = vec![pb::TaskState::Dead.into()];
    let purge = pb::PurgeTasksRequest { queue: "q".into(), states: dead, ..Default::default() };
    assert_eq!(client.purge_tasks(purge).await.unwrap().into_inner().count, 1);
    let gone = pb::GetTaskRequest { task_id: found[1].id.clone(), ..Default::default() };
    refused(client.get_task(gone).await, Code::NotFound, "NOT_FOUND");
}

pub(crate) async fn a_queue_is_paused_drained_and_resumed(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let queue = String::from("q");
    let paused = pb::PauseQueueRequest { queue: queue.clone(), ..Default::default() };
    let paused = client.pause_queue(paused).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(paused.intake(), pb::QueueIntake::Paused);
    put(&mut client, task("t")).await;
    let none = client.lease(pb::LeaseRequest { wait: None, ..ask() }).await.unwrap().into_inner();
    assert!(none.leases.is_empty());
    let drain = pb::DrainQueueRequest { queue: queue.clone(), ..Default::default() };
    let closed = client.drain_queue(drain.clone()).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(closed.intake(), pb::QueueIntake::Closed, "a drain does not end a pause");
    let more = client.enqueue(enqueue(vec![task("more")])).await;
    refused(more, Code::FailedPrecondition, "QUEUE_DRAINING");
    let none = client.lease(pb::LeaseRequest { wait: None, ..ask() }).await.unwrap().into_inner();
    assert!(none.leases.is_empty());
    let resume = pb::ResumeQueueRequest { queue: queue.clone(), ..Default::default() };
    client.resume_queue(resume.clone()).await.unwrap();
    let drained = client.drain_queue(drain).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(drained.intake(), pb::QueueIntake::Draining);
    take(&mut client, ask()).await;
    let closed = pb::PauseQueueRequest { queue, ..Default::default() };
    let closed = client.pause_queue(closed).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(closed.intake(), pb::QueueIntake::Closed, "a pause does not end a drain");
    client.resume_queue(resume).await.unwrap();
    put(&mut client, task("more")).await;
}

fn delete(force: bool) -> pb::DeleteQueueRequest {
    pb::DeleteQueueRequest { queue: "q".into(), force, ..Default::default() }
}

pub(crate) async fn a_queue_is_deleted_with_its_settings_and_what_has_ended(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let settings = Some(pb::QueueSettings { max_running: 7, ..Default::default() });
    let update = pb::UpdateQueueRequest { queue: "q".into(), settings, ..Default::default() };
    client.update_queue(update).await.unwrap();
    let id = put(&mut client, task("t")).await;
    refused(client.delete_queue(delete(false)).await, Code::FailedPrecondition, "QUEUE_NOT_EMPTY");
    let lease = take(&mut client, ask()).await;
    client.complete(complete(&lease, "r")).await.unwrap();
    client.delete_queue(delete(false)).await.unwrap();
    let gone = pb::GetTaskRequest { task_id: id, ..Default::default() };
    refused(client.get_task(gone).await, Code::NotFound, "NOT_FOUND");
    server.stop().await;
    let server = home.serve().await;
    let known = pb::GetQueueRequest { queue: "q".into(), ..Default::default() };
    refused(self::client(&server).get_queue(known).await, Code::NotFound, "NOT_FOUND");
}

pub(crate) async fn only_force_deletes_a_queue_that_holds_tasks(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("dead")).await;
    let lease = take(&mut client, ask()).await;
    client.fail(pb::FailRequest { permanent: true, ..fail(&lease) }).await.unwrap();
    refused(client.delete_queue(delete(false)).await, Code::FailedPrecondition, "QUEUE_NOT_EMPTY");
    put_many(&mut client, "resize", 1_000).await;
    put_many(&mut client, "resize", 1_000).await;
    let held = take(&mut client, ask()).await;
    client.delete_queue(delete(true)).await.unwrap();
    let late = client.complete(complete(&held, "r")).await;
    refused(late, Code::FailedPrecondition, "LEASE_LOST");
    let queues = client.list_queues(pb::ListQueuesRequest::default()).await.unwrap().into_inner().queues;
    assert!(queues.is_empty(), "{queues:?}");
    put(&mut client, task("anew")).await;
}

pub(crate) async fn a_queue_keeps_its_settings(home: &Home) {
    let server = home.serve().await;
    let settings = Some(pb::QueueSettings { max_tasks: 1, ..Default::default() });
    let update = pb::UpdateQueueRequest { queue: "q".into(), settings, ..Default::default() };
    client(&server).update_queue(update).await.unwrap();
    server.stop().await;
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("1")).await;
    let full = client.enqueue(enqueue(vec![task("2")])).await;
    refused(full, Code::ResourceExhausted, "OVERLOADED");
    let none = pb::GetQueueRequest { queue: "none".into(), ..Default::default() };
    refused(client.get_queue(none).await, Code::NotFound, "NOT_FOUND");
}
