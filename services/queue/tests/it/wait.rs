//! Calls that wait for the end of a task.

use nova_proto::queue::v1 as pb;
use pb::TaskState;
use tokio::{task::JoinSet, time::timeout};
use tonic::Code;

use crate::harness::{
    Client, Home, PATIENCE, ask, client, complete, fail, get, millis, put, refused, seconds, take, task,
};

/// Waits for a task to end, up to a minute.
fn wait_for(client: &Client, id: &str) -> JoinSet<pb::Task> {
    let (mut client, task_id) = (client.clone(), id.to_owned());
    let request = pb::GetTaskRequest { task_id, wait: seconds(60), ..Default::default() };
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { client.get_task(request).await.unwrap().into_inner().task.unwrap() });
    waiting
}

async fn told(mut waiting: JoinSet<pb::Task>) -> pb::Task {
    timeout(PATIENCE, waiting.join_next()).await.expect("a call that waits is told").unwrap().unwrap()
}

pub(crate) async fn a_call_waits_until_its_task_has_ended(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let [completed, dead, cancelled] = [
        put(&mut client, task("a")).await,
        put(&mut client, task("b")).await,
        put(&mut client, task("c")).await,
    ];
    let waiting = [&completed, &completed, &dead, &cancelled].map(|id| wait_for(&client, id));
    let lease = take(&mut client, ask()).await;
    let retried = pb::FailRequest { retry_after: millis(1), ..fail(&lease) };
    client.fail(retried).await.unwrap();
    client
        .cancel_tasks(pb::CancelTasksRequest { task_ids: vec![cancelled], ..Default::default() })
        .await
        .unwrap();
    for _ in 0..2 {
        let lease = take(&mut client, ask()).await;
        if lease.task.as_ref().unwrap().id == completed {
            client.complete(complete(&lease, "out")).await.unwrap();
        } else {
            client.fail(pb::FailRequest { permanent: true, ..fail(&lease) }).await.unwrap();
        }
    }
    let mut ends = Vec::new();
    for waiting in waiting {
        let task = told(waiting).await;
        ends.push((task.state(), task.result.to_vec()));
    }
    let done = (TaskState::Completed, b"out".to_vec());
    assert_eq!(ends[..2], [done.clone(), done]);
    assert_eq!((ends[2].0, ends[3].0), (TaskState::Dead, TaskState::Cancelled));
    assert_eq!(
        told(wait_for(&client, &completed)).await.state(),
        TaskState::Completed,
        "it has ended before"
    );
}

pub(crate) async fn a_wait_that_is_over_tells_the_state_of_then(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let delayed = pb::NewTask { delay: millis(20), ..task("t") };
    let task_id = put(&mut client, delayed).await;
    let past_it = pb::GetTaskRequest { task_id: task_id.clone(), wait: millis(200), ..Default::default() };
    let task = client.get_task(past_it).await.unwrap().into_inner().task.unwrap();
    assert_eq!(task.state(), TaskState::Ready, "it was waiting when the call came");
    assert!(get(&mut client, &task_id).await.state() == TaskState::Ready);
}

pub(crate) async fn who_waits_for_a_task_is_told_when_it_is_purged(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let task_id = put(&mut client, task("t")).await;
    let long = pb::GetTaskRequest { task_id: task_id.clone(), wait: seconds(60), ..Default::default() };
    let purge = pb::PurgeTasksRequest { task_ids: vec![task_id], ..Default::default() };
    let mut other = client.clone();
    let both = async { tokio::join!(client.get_task(long), other.purge_tasks(purge)) };
    let (told, purged) = timeout(PATIENCE, both).await.expect("who waits is told");
    assert_eq!(purged.unwrap().into_inner().count, 1);
    refused(told, Code::NotFound, "NOT_FOUND");
}

pub(crate) async fn a_wait_for_a_task_ends_with_the_daemon(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let task_id = put(&mut client, task("t")).await;
    let long = pb::GetTaskRequest { task_id, wait: seconds(60), ..Default::default() };
    let both = async { tokio::join!(client.get_task(long), server.stop()).0 };
    let answer = timeout(PATIENCE, both).await.expect("the wait ends with the daemon");
    assert!(answer.is_err(), "it says nothing of the task: {answer:?}");
}
