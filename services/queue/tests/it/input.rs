//! Bad input: code, field and rule for every request.

use nova_proto::queue::v1 as pb;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Client, Home, ask, broken, client, enqueue, refused, seconds, task};

/// The first field that a refusal names.
#[track_caller]
fn field<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> String {
    let status = answer.expect_err("bad input is refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    let request = details.bad_request().expect("the field is named");
    assert!(!request.field_violations[0].description.is_empty());
    request.field_violations[0].field.clone()
}

pub(crate) async fn bad_input_names_its_field(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    enqueues(&mut client).await;
    leases(&mut client).await;
    settlements(&mut client).await;
    reads(&mut client).await;
    let queues = client.list_queues(pb::ListQueuesRequest::default()).await.unwrap().into_inner();
    assert!(queues.queues.is_empty(), "nothing half done: {queues:?}");
}

async fn enqueues(client: &mut Client) {
    let good = || task("t");
    let retry = |retry| Some(retry);
    let policy = pb::RetryPolicy::default;
    let labels = |key: String, value: String| [(key, value)].into();
    let table: Vec<(&str, pb::NewTask)> = vec![
        ("tasks[0].queue", pb::NewTask { queue: String::new(), ..good() }),
        ("tasks[0].queue", pb::NewTask { queue: "a b".into(), ..good() }),
        ("tasks[0].queue", pb::NewTask { queue: "x".repeat(129), ..good() }),
        ("tasks[0].kind", pb::NewTask { kind: "a/b".into(), ..good() }),
        ("tasks[0].payload", pb::NewTask { payload: vec![0; (1 << 20) + 1].into(), ..good() }),
        ("tasks[0].metadata", pb::NewTask { metadata: labels("k".repeat(65), String::new()), ..good() }),
        ("tasks[0].metadata[\"k\"]", pb::NewTask { metadata: labels("k".into(), "v".repeat(257)), ..good() }),
        ("tasks[0].request_id", pb::NewTask { request_id: "r".repeat(129), ..good() }),
        ("tasks[0].group", pb::NewTask { group: "g".repeat(129), ..good() }),
        ("tasks[0].priority", pb::NewTask { priority: 10, ..good() }),
        ("tasks[0].delay", pb::NewTask { delay: seconds(-1), ..good() }),
        ("tasks[0].delay", pb::NewTask { delay: seconds(366 * 86_400), ..good() }),
        ("tasks[0].deadline", pb::NewTask { deadline: seconds(0), ..good() }),
        ("tasks[0].deadline", pb::NewTask { deadline: seconds(366 * 86_400), ..good() }),
        ("tasks[0].deadline", pb::NewTask { deadline: seconds(5), delay: seconds(5), ..good() }),
        ("tasks[0].unique_key", pb::NewTask { unique_key: "u".repeat(129), ..good() }),
        ("tasks[0].unique_for", pb::NewTask { unique_for: seconds(1), ..good() }),
        ("tasks[0].after[0]", pb::NewTask { after: vec!["x".into()], ..good() }),
        ("tasks[0].after[0]", pb::NewTask { after: vec![some_id()], ..good() }),
        ("tasks[0].after", pb::NewTask { after: vec![some_id(); 65], ..good() }),
        ("tasks[0].after_index[0]", pb::NewTask { after_index: vec![0], ..good() }),
        ("tasks[0].after_index", pb::NewTask { after_index: vec![0; 65], ..good() }),
        ("tasks[0].attempt_timeout", pb::NewTask { attempt_timeout: seconds(0), ..good() }),
        (
            "tasks[0].retry.max_attempts",
            pb::NewTask { retry: retry(pb::RetryPolicy { max_attempts: 101, ..policy() }), ..good() },
        ),
        (
            "tasks[0].retry.factor",
            pb::NewTask { retry: retry(pb::RetryPolicy { factor: f64::NAN, ..policy() }), ..good() },
        ),
        (
            "tasks[0].retry.initial_backoff",
            pb::NewTask {
                retry: retry(pb::RetryPolicy { initial_backoff: seconds(-5), ..policy() }),
                ..good()
            },
        ),
        (
            "tasks[0].retry.max_backoff",
            pb::NewTask {
                retry: retry(pb::RetryPolicy {
                    initial_backoff: seconds(2),
                    max_backoff: seconds(1),
                    ..policy()
                }),
                ..good()
            },
        ),
    ];
    for (expected, task) in table {
        assert_eq!(field(client.enqueue(enqueue(vec![task])).await), expected);
    }
    assert_eq!(field(client.enqueue(enqueue(vec![])).await), "tasks");
    assert_eq!(field(client.enqueue(enqueue(vec![good(); 1_001])).await), "tasks");
    let large = pb::NewTask { payload: vec![0; 1 << 20].into(), ..good() };
    assert_eq!(field(client.enqueue(enqueue(vec![large; 5])).await), "tasks");
    let second = enqueue(vec![good(), pb::NewTask { queue: String::new(), ..good() }]);
    assert_eq!(field(client.enqueue(second).await), "tasks[1].queue");
    let request = pb::EnqueueRequest { namespace: "UP".into(), ..enqueue(vec![good()]) };
    assert_eq!(field(client.enqueue(request).await), "namespace");
}

async fn leases(client: &mut Client) {
    let table = vec![
        ("queues", pb::LeaseRequest { queues: vec![], ..ask() }),
        ("queues", pb::LeaseRequest { queues: vec!["q".into(); 65], ..ask() }),
        ("queues[1]", pb::LeaseRequest { queues: vec!["q".into(), String::new()], ..ask() }),
        ("worker", pb::LeaseRequest { worker: String::new(), ..ask() }),
        ("max_tasks", pb::LeaseRequest { max_tasks: 1_001, ..ask() }),
        ("lease_duration", pb::LeaseRequest { lease_duration: seconds(0), ..ask() }),
        ("lease_duration", pb::LeaseRequest { lease_duration: seconds(3_601), ..ask() }),
        ("wait", pb::LeaseRequest { wait: seconds(61), ..ask() }),
    ];
    for (expected, request) in table {
        assert_eq!(field(client.lease(request).await), expected);
    }
    assert_eq!(field(client.heartbeat(pb::HeartbeatRequest::default()).await), "leases");
    let lease = pb::LeaseRef { task_id: "x".into(), token: 1 };
    let request = pb::HeartbeatRequest { leases: vec![lease], ..Default::default() };
    assert_eq!(field(client.heartbeat(request).await), "leases[0].task_id");
}

async fn settlements(client: &mut Client) {
    assert_eq!(field(client.complete(pb::CompleteRequest::default()).await), "lease");
    assert_eq!(field(client.fail(pb::FailRequest::default()).await), "lease");
    assert_eq!(field(client.release(pb::ReleaseRequest::default()).await), "lease");
    let late = pb::LeaseRef { task_id: some_id(), token: 1 };
    let late = pb::ReleaseRequest { lease: Some(late), delay: seconds(-1), ..Default::default() };
    assert_eq!(field(client.release(late).await), "delay");
    let lease = Some(pb::LeaseRef { task_id: some_id(), token: 1 });
    let large = vec![0; (1 << 20) + 1].into();
    let request = pb::CompleteRequest { lease: lease.clone(), result: large, ..Default::default() };
    assert_eq!(field(client.complete(request).await), "result");
    let failed = pb::FailRequest { lease, error: Some(broken()), ..Default::default() };
    let reason = |reason: String| Some(pb::TaskError { reason, message: "why".into() });
    for error in [None, reason(String::new()), reason("R".repeat(65))] {
        let request = pb::FailRequest { error, ..failed.clone() };
        assert_eq!(field(client.fail(request).await), "error.reason");
    }
    let request = pb::FailRequest { traceparent: "00-no-trace-00".into(), ..failed.clone() };
    assert_eq!(field(client.fail(request).await), "traceparent");
    let request = pb::FailRequest { retry_after: seconds(-1), ..failed };
    assert_eq!(field(client.fail(request).await), "retry_after");
}

async fn reads(client: &mut Client) {
    assert_eq!(field(client.get_task(pb::GetTaskRequest::default()).await), "task_id");
    let longest = pb::GetTaskRequest { task_id: some_id(), wait: seconds(61), ..Default::default() };
    assert_eq!(field(client.get_task(longest).await), "wait");
    let table = vec![
        ("queue", pb::ListTasksRequest { queue: "a b".into(), ..Default::default() }),
        ("states[0]", pb::ListTasksRequest { states: vec![0], ..Default::default() }),
        ("states[0]", pb::ListTasksRequest { states: vec![99], ..Default::default() }),
        ("page_size", pb::ListTasksRequest { page_size: 1_001, ..Default::default() }),
        ("page_token", pb::ListTasksRequest { page_token: "%".into(), ..Default::default() }),
    ];
    for (expected, request) in table {
        assert_eq!(field(client.list_tasks(request).await), expected);
    }
    let request = pb::ListQueuesRequest { namespace: "a b".into(), ..Default::default() };
    assert_eq!(field(client.list_queues(request).await), "namespace");
    let request = pb::WatchTasksRequest { metadata_filter: "run".into(), ..Default::default() };
    assert_eq!(field(client.watch_tasks(request).await), "metadata_filter");
    let request = pb::WatchTasksRequest { cursor: "nonsense".into(), ..Default::default() };
    assert_eq!(field(client.watch_tasks(request).await), "cursor");
}

fn some_id() -> String {
    "01890a5d-ac96-774b-bcce-b302099a8057".into()
}

pub(crate) async fn an_unknown_task_is_not_found(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let request = pb::GetTaskRequest { task_id: some_id(), ..Default::default() };
    refused(client.get_task(request).await, Code::NotFound, "NOT_FOUND");
    let lease = Some(pb::LeaseRef { task_id: some_id(), token: 1 });
    let request = pb::CompleteRequest { lease, ..Default::default() };
    refused(client.complete(request).await, Code::FailedPrecondition, "LEASE_LOST");
}
