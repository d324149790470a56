//! Calls that wait for the end of a task.

use std::time::Duration;

use nova_proto::queue::v1 as pb;
use pb::TaskState;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::harness::{Client, Home, PATIENCE, ask, client, complete, fail, millis, put, seconds, take, task};

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
    let mut waiting = [&completed, &completed, &dead, &cancelled].map(|id| wait_for(&client, id));
    let lease = take(&mut client, ask()).await;
    let retried = pb::FailRequest { retry_after: millis(1), ..fail(&lease) };
    client.fail(retried).await.unwrap();
    client
        .cancel_tasks(pb::CancelTasksRequest { task_ids: vec![cancelled], ..Default::default() })
        .await
        .unwrap();
    sleep(Duration::from_millis(5)).await;
    assert!(waiting[0].try_join_next().is_none(), "an attempt that failed is no end");
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

pub(crate) async fn a_wait_for_a_task_is_over_in_time_and_with_the_daemon(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let brief = pb::GetTaskRequest { task_id: id.clone(), wait: millis(1), ..Default::default() };
    let task = client.get_task(brief).await.unwrap().into_inner().task.unwrap();
    assert_eq!(task.state(), TaskState::Ready, "it is answered as it is");
    let long = pb::GetTaskRequest { task_id: id, wait: seconds(60), ..Default::default() };
    let both = async { tokio::join!(client.get_task(long), server.stop()).0 };
    let answer = timeout(PATIENCE, both).await.expect("the wait ends with the daemon");
    let told = answer.map(|answer| answer.into_inner().task.unwrap().state());
    assert!(matches!(told, Ok(TaskState::Ready)) || told.is_err(), "{told:?}");
}
