//! From enqueue to the end, and what is seen of it.

use nova_proto::queue::v1 as pb;
use pb::TaskState;
use tonic::Code;

use crate::harness::{
    Home, ask, client, complete, enqueue, eventually, fail, get, put, refer, refused, seconds, take, task,
};

pub(crate) async fn a_task_is_enqueued_leased_heartbeated_and_completed(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("in")).await;
    let lease = take(&mut client, ask()).await;
    let leased = lease.task.clone().unwrap();
    assert_eq!((leased.id.as_str(), lease.attempt, leased.state()), (id.as_str(), 1, TaskState::Leased));
    assert_eq!((&leased.payload[..], leased.worker.as_str()), (&b"in"[..], "w-1"));
    let beat = pb::HeartbeatRequest { leases: vec![refer(&lease)], ..Default::default() };
    let beat = client.heartbeat(beat).await.unwrap().into_inner();
    assert!(!beat.results[0].lost && beat.results[0].expire_time.is_some());
    client.complete(complete(&lease, "out")).await.unwrap();
    let ended = get(&mut client, &id).await;
    assert_eq!((ended.state(), &ended.result[..]), (TaskState::Completed, &b"out"[..]));
    assert_eq!(ended.metadata["run"], "7");
    assert!(ended.worker.is_empty() && ended.lease_expire_time.is_none());
}

pub(crate) async fn a_failed_task_is_retried_after_its_backoff(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    let first = take(&mut client, ask()).await;
    let failed = client.fail(fail(&first)).await.unwrap().into_inner();
    assert_eq!(failed.state(), TaskState::Waiting);
    assert!(failed.retry_time.is_some());
    let second = take(&mut client, ask()).await;
    assert_eq!(second.attempt, 2);
    assert!(second.token > first.token);
    assert_eq!(second.task.unwrap().last_error.unwrap().reason, "BROKEN");
}

pub(crate) async fn a_worker_may_say_when_to_retry(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let lease = take(&mut client, ask()).await;
    let later = pb::FailRequest { retry_after: seconds(3_600), ..fail(&lease) };
    client.fail(later).await.unwrap();
    let waiting = get(&mut client, &id).await;
    let rest = waiting.ready_time.unwrap().seconds - waiting.update_time.unwrap().seconds;
    assert_eq!((waiting.state(), rest), (TaskState::Waiting, 3_600));
}

pub(crate) async fn the_last_attempt_leads_to_the_dead_letters(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    for state in [TaskState::Waiting, TaskState::Waiting, TaskState::Dead] {
        let lease = take(&mut client, ask()).await;
        assert_eq!(client.fail(fail(&lease)).await.unwrap().into_inner().state(), state);
    }
    let dead = eventually(&mut client, &id, TaskState::Dead).await;
    assert_eq!((dead.attempts, dead.last_error.unwrap().message.as_str()), (3, "it broke"));
}

pub(crate) async fn a_repeated_request_is_the_same_task(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let request = enqueue(vec![pb::NewTask { request_id: "run/step".into(), ..task("t") }]);
    let first = client.enqueue(request.clone()).await.unwrap().into_inner();
    let again = client.enqueue(request).await.unwrap().into_inner();
    assert_eq!(first.tasks[0].id, again.tasks[0].id);
    assert!(!first.tasks[0].duplicate && again.tasks[0].duplicate);
    let expected = if home.store() == "sqlite" { pb::Durability::Synced } else { pb::Durability::Aof };
    assert_eq!(again.durability(), expected);
}

pub(crate) async fn another_body_under_a_known_key_is_a_mismatch(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, pb::NewTask { request_id: "key".into(), ..task("one") }).await;
    let other = enqueue(vec![task("new"), pb::NewTask { request_id: "key".into(), ..task("two") }]);
    refused(client.enqueue(other).await, Code::Aborted, "IDEMPOTENCY_MISMATCH");
    let queues = client.list_queues(pb::ListQueuesRequest::default()).await.unwrap().into_inner();
    assert_eq!(queues.queues[0].ready, 1, "nothing of a refused request is stored");
}

pub(crate) async fn lists_show_tasks_and_queues(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(put(&mut client, task("t")).await);
    }
    let mut seen = Vec::new();
    let mut request = pb::ListTasksRequest { queue: "q".into(), page_size: 2, ..Default::default() };
    loop {
        let page = client.list_tasks(request.clone()).await.unwrap().into_inner();
        assert!(page.tasks.iter().all(|task| task.payload.is_empty()));
        seen.extend(page.tasks.into_iter().map(|task| task.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    ids.reverse();
    assert_eq!(seen, ids);
    let queues = client.list_queues(pb::ListQueuesRequest::default()).await.unwrap().into_inner();
    assert_eq!((queues.queues[0].queue.as_str(), queues.queues[0].ready), ("q", 5));
    assert!(queues.queues[0].oldest_ready_age.is_some());
}

pub(crate) async fn a_denied_caller_reaches_nothing(home: &Home) {
    let server = home.serve_denying("nova.queue.v1.QueueService/Enqueue").await;
    let mut client = client(&server);
    let denied = client.enqueue(enqueue(vec![task("t")])).await;
    refused(denied, Code::PermissionDenied, "PERMISSION_DENIED");
    let queues = client.list_queues(pb::ListQueuesRequest::default()).await.unwrap().into_inner();
    assert!(queues.queues.is_empty());
}
