//! Watching tasks, across restarts.

use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use pb::TaskState;
use tonic::{Code, Streaming};

use crate::harness::{Client, Home, PATIENCE, ask, client, complete, enqueue, put, refused, take, task};

/// The next event and its cursor.
async fn next(watch: &mut Streaming<pb::WatchTasksResponse>) -> (String, pb::Task) {
    let read = async {
        loop {
            let message = watch.message().await.unwrap().expect("the watch stands");
            if let Some(event) = message.event {
                return (message.cursor, event.task.unwrap());
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an event comes")
}

/// Opens a watch; answers it and the cursor at which it stands.
async fn open(client: &mut Client, cursor: &str) -> (Streaming<pb::WatchTasksResponse>, String) {
    let request = pb::WatchTasksRequest {
        metadata_filter: "run=7".into(),
        cursor: cursor.into(),
        ..Default::default()
    };
    let mut watch = client.watch_tasks(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert!(first.event.is_none() && !first.cursor.is_empty());
    (watch, first.cursor)
}

pub(crate) async fn a_watch_tells_every_change_of_its_tasks(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let (mut watch, _) = open(&mut client, "").await;
    put(&mut client, pb::NewTask { metadata: [("run".into(), "8".into())].into(), ..task("other") }).await;
    let id = put(&mut client, task("t")).await;
    for _ in 0..2 {
        let lease = take(&mut client, ask()).await;
        client.complete(complete(&lease, "out")).await.unwrap();
    }
    for state in [TaskState::Ready, TaskState::Leased, TaskState::Completed] {
        let (_, task) = next(&mut watch).await;
        assert_eq!((task.id.as_str(), task.state()), (id.as_str(), state));
        assert!(task.payload.is_empty());
        assert_eq!(&task.result[..] == b"out", state == TaskState::Completed);
    }
}

pub(crate) async fn a_watch_resumes_after_a_restart_of_the_daemon(home: &Home) {
    let server = home.serve().await;
    let mut first = client(&server);
    let (mut watch, _) = open(&mut first, "").await;
    let id = put(&mut first, task("t")).await;
    let (cursor, _) = next(&mut watch).await;
    let lease = take(&mut first, ask()).await;
    drop(watch);
    server.stop().await;

    let server = home.serve().await;
    let mut second = client(&server);
    second.complete(complete(&lease, "out")).await.unwrap();
    let (mut watch, _) = open(&mut second, &cursor).await;
    for state in [TaskState::Leased, TaskState::Completed] {
        let (_, task) = next(&mut watch).await;
        assert_eq!((task.id.as_str(), task.state()), (id.as_str(), state));
    }
}

pub(crate) async fn a_cursor_that_is_gone_answers_cursor_expired(home: &Home) {
    let server = home.serve_with(Config { keep_events: 10, ..Config::default() }).await;
    let mut client = client(&server);
    let (watch, cursor) = open(&mut client, "").await;
    drop(watch);
    // More than memory holds of the log, too.
    for _ in 0..20 {
        client.enqueue(enqueue((0..500).map(|_| task("t")).collect())).await.unwrap();
        let lease = take(&mut client, ask()).await;
        client.complete(complete(&lease, "r")).await.unwrap();
    }
    let request = pb::WatchTasksRequest { cursor, ..Default::default() };
    refused(client.watch_tasks(request).await, Code::OutOfRange, "CURSOR_EXPIRED");
}
