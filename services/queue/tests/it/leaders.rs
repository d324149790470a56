//! Several daemons over one Redis: one leads, the others pass calls on and take over.

use nova_proto::queue::v1 as pb;
use nova_runtime::testing::TestServer;
use nova_testkit::soon;

use crate::{
    harness::{Home, PATIENCE, ask, client, complete, enqueue, get, put, seconds, take, task},
    leases::{is_kept_from, is_lost_to, stranger},
};

/// Two daemons over one Redis, the first of which leads.
async fn two() -> (Home, TestServer, TestServer) {
    let home = Home::redis();
    let leader = home.serve().await;
    let follower = home.serve().await;
    (home, leader, follower)
}

/// Takes a task from a daemon that is about to lead: until then it says that it cannot reach the leader.
async fn take_from_next(next: &TestServer) -> pb::Lease {
    let asked = || async {
        let answer = client(next).lease(ask()).await;
        let away = |status: &tonic::Status| assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
        Some(answer.inspect_err(away).ok()?.into_inner().leases.remove(0))
    };
    soon("the next one leads", PATIENCE, asked).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_answers_as_the_leader_would() {
    let (_home, leader, follower) = two().await;
    let id = put(&mut client(&follower), task("a")).await;
    let lease = take(&mut client(&leader), ask()).await;
    assert_eq!(lease.task.as_ref().unwrap().id, id);
    client(&follower).complete(complete(&lease, "done")).await.unwrap();
    let task = get(&mut client(&follower), &id).await;
    assert_eq!((task.state(), &*task.result), (pb::TaskState::Completed, &b"done"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_its_holders_alone_whoever_is_asked() {
    let (_home, leader, follower) = two().await;
    for (gave, other) in [(&leader, &follower), (&follower, &leader)] {
        put(&mut client(gave), task("t")).await;
        let lease = take(&mut client(gave), ask()).await;
        for server in [gave, other] {
            is_kept_from(&mut stranger(server), &lease).await;
            assert_eq!(is_lost_to(&mut client(server), &lease).await, [false; 3]);
        }
        client(other).complete(complete(&lease, "done")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_passes_streams_on() {
    let (_home, leader, follower) = two().await;
    let mut watch =
        client(&follower).watch_tasks(pb::WatchTasksRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let id = put(&mut client(&leader), task("a")).await;
    let seen = tokio::time::timeout(PATIENCE, watch.message()).await.expect("it is told").unwrap().unwrap();
    assert_eq!(seen.event.unwrap().task.unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_over_and_tokens_grow() {
    let (_home, leader, follower) = two().await;
    put(&mut client(&leader), task("a")).await;
    let before = take(&mut client(&leader), ask()).await;
    let second = put(&mut client(&leader), task("a")).await;
    leader.stop().await;
    let after = take_from_next(&follower).await;
    assert_eq!(after.task.unwrap().id, second);
    assert!(after.token > before.token);
    let settled = client(&follower).complete(complete(&before, "late")).await;
    settled.expect("a lease outlives the daemon that gave it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_when_its_daemon_is_deposed() {
    let home = Home::redis();
    let first = home.serve().await;
    let mut watch = client(&first).watch_tasks(pb::WatchTasksRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    home.depose().await;
    let ended = tokio::time::timeout(PATIENCE, watch.message()).await.expect("it ends");
    assert_eq!(ended.unwrap_err().code(), tonic::Code::Unavailable);
    let id = put(&mut client(&first), task("a")).await;
    assert_eq!(take(&mut client(&first), ask()).await.task.unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_task_at_a_follower_is_told_of_its_end() {
    let (_home, leader, follower) = two().await;
    let task_id = put(&mut client(&leader), task("a")).await;
    let wait = pb::GetTaskRequest { task_id, wait: seconds(60), ..Default::default() };
    let (mut far, mut near) = (client(&follower), client(&leader));
    let work = async {
        let lease = take(&mut near, ask()).await;
        near.complete(complete(&lease, "done")).await.unwrap();
    };
    let both = async { tokio::join!(far.get_task(wait), work).0 };
    let told = tokio::time::timeout(PATIENCE, both).await.expect("it is told").unwrap().into_inner();
    assert_eq!(told.task.unwrap().state(), pb::TaskState::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_task_at_a_daemon_that_leads_no_more() {
    let home = Home::redis();
    let first = home.serve().await;
    let task_id = put(&mut client(&first), task("a")).await;
    let wait = pb::GetTaskRequest { task_id, wait: seconds(60), ..Default::default() };
    let (mut waiting, deposed) = (client(&first), home.depose());
    let both = async { tokio::join!(waiting.get_task(wait), deposed).0 };
    let told = tokio::time::timeout(PATIENCE, both).await.expect("it ends before its time");
    assert_eq!(told.unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_of_workers_is_whole_whoever_is_asked() {
    let (_home, leader, follower) = two().await;
    for (server, worker) in [(&leader, "w-1"), (&follower, "w-2")] {
        put(&mut client(server), task("t")).await;
        take(&mut client(server), pb::LeaseRequest { worker: worker.into(), ..ask() }).await;
    }
    for server in [&leader, &follower] {
        let listed =
            client(server).list_workers(pb::ListWorkersRequest::default()).await.unwrap().into_inner();
        let shown: Vec<_> = listed.workers.iter().map(|worker| (&*worker.name, worker.leases)).collect();
        assert_eq!(shown, [("w-1", 1), ("w-2", 1)]);
        assert!(listed.workers.iter().all(|worker| worker.identity == "spiffe://nova.local/user/operator"));
    }
}

/// A call is refused in the store's own words.
#[track_caller]
fn names_the_store<T: std::fmt::Debug>(refused: Result<T, tonic::Status>) {
    let status = refused.expect_err("nothing can be stored");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    let message = status.message();
    assert!(message.starts_with("store: the store of the queue failed: "), "{message}");
    assert!(message.contains("redis"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_gone_is_named_to_whoever_calls() {
    let mut home = Home::redis();
    let server = home.serve().await;
    put(&mut client(&server), task("a")).await;
    home.server().kill();
    // The daemon still leads, and repeats the write for as long as it has patience.
    names_the_store(client(&server).enqueue(enqueue(vec![task("b")])).await);
    // Now nobody is known to.
    names_the_store(client(&server).enqueue(enqueue(vec![task("b")])).await);
    names_the_store(client(&server).list_queues(pb::ListQueuesRequest::default()).await);
    home.server().restart();
    let stored = || async { client(&server).enqueue(enqueue(vec![task("b")])).await.ok() };
    soon("the store is back", PATIENCE, stored).await;
}
