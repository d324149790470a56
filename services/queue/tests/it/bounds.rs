//! What a daemon holds is bounded, and says so.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::uri::PathAndQuery;
use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use nova_rpc::raw::RawCodec;
use tokio::task::JoinSet;
use tonic::{Code, client::Grpc};
use tonic_types::StatusExt as _;

use crate::harness::{Client, Home, ask, client, complete, enqueue, fail, millis, put, refused, take, task};

/// A task with 4 KiB of labels.
fn labelled() -> pb::NewTask {
    let labels = (0..16).map(|number| (format!("label-{number}"), "v".repeat(256)));
    pb::NewTask { metadata: labels.collect(), ..task("t") }
}

pub(crate) async fn a_backlog_is_bounded_in_bytes(home: &Home) {
    let server = home.serve_with(Config { max_bytes: 64 << 10, ..Config::default() }).await;
    let mut client = client(&server);
    let plain = pb::NewTask { metadata: HashMap::new(), ..task("t") };
    client.enqueue(enqueue(vec![plain.clone(); 50])).await.unwrap();
    let mut stored = 0;
    let refusal = loop {
        match client.enqueue(enqueue(vec![labelled()])).await {
            Ok(_) if stored < 16 => stored += 1,
            Ok(_) => panic!("{stored} tasks of 4 KiB in 64 KiB"),
            Err(status) => break status,
        }
    };
    assert!(refusal.message().contains("max_bytes"), "{refusal}");
    assert!(refusal.get_error_details().retry_info().is_some(), "{refusal}");
    refused::<()>(Err(refusal), Code::ResourceExhausted, "OVERLOADED");
    let lease = take(&mut client, ask()).await;
    let error = Some(pb::TaskError { reason: "BROKEN".into(), message: "m".repeat(4_096) });
    client.fail(pb::FailRequest { error, ..fail(&lease) }).await.unwrap();
    for _ in 0..50 + stored {
        let lease = take(&mut client, ask()).await;
        client.complete(complete(&lease, "r")).await.unwrap();
    }
    put(&mut client, labelled()).await;
}

/// Puts a task into a queue and forgets it again.
async fn pass_through(client: &mut Client, queue: String) {
    let id = put(client, pb::NewTask { queue, ..task("t") }).await;
    let purge = pb::PurgeTasksRequest { task_ids: vec![id], ..Default::default() };
    assert_eq!(client.purge_tasks(purge).await.unwrap().into_inner().count, 1);
}

pub(crate) async fn queues_that_hold_nothing_make_room_for_others(home: &Home) {
    let server = home.serve_with(Config { max_queues: 3, ..Config::default() }).await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    let settings = Some(pb::QueueSettings { max_tasks: 1, ..Default::default() });
    let update = pb::UpdateQueueRequest { queue: "set".into(), settings, ..Default::default() };
    client.update_queue(update).await.unwrap();
    for number in 0..10 {
        pass_through(&mut client, format!("brief-{number}")).await;
    }
    put(&mut client, pb::NewTask { queue: "third".into(), ..task("t") }).await;
    let fourth = pb::NewTask { queue: "fourth".into(), ..task("t") };
    refused(client.enqueue(enqueue(vec![fourth])).await, Code::ResourceExhausted, "OVERLOADED");
    let known = pb::GetQueueRequest { queue: "set".into(), ..Default::default() };
    let known = client.get_queue(known).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(known.settings.unwrap().max_tasks, 1, "one that somebody has set up stays");
}

pub(crate) async fn a_call_that_waits_makes_no_queue(home: &Home) {
    let server = home.serve_with(Config { max_queues: 1, ..Config::default() }).await;
    let mut client = client(&server);
    for number in 0..10 {
        let nothing = pb::LeaseRequest { queues: vec![format!("none-{number}")], wait: millis(1), ..ask() };
        assert!(client.lease(nothing).await.unwrap().into_inner().leases.is_empty());
    }
    put(&mut client, task("t")).await;
}

/// Enqueues without rest until so many calls were refused, by whoever shares the count.
async fn pour(mut client: Client, refusals: Arc<AtomicUsize>) {
    let payload: bytes::Bytes = vec![7; 32 << 10].into();
    while refusals.load(Ordering::Relaxed) < REFUSALS {
        let tasks = vec![pb::NewTask { payload: payload.clone(), ..task("t") }];
        if let Err(status) = client.enqueue(enqueue(tasks)).await {
            assert!(status.get_error_details().retry_info().is_some(), "{status}");
            refused::<()>(Err(status), Code::ResourceExhausted, "OVERLOADED");
            refusals.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// More than HTTP/2 bears of calls that are cut short on one connection: it counts those whose data comes after the answer.
const REFUSALS: usize = 4_000;

pub(crate) async fn calls_without_number_are_refused_and_their_connection_stays(home: &Home) {
    let server = home.serve_with(Config { max_waiting_calls: 1, ..Config::default() }).await;
    let (client, refusals) = (client(&server), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..256 {
        callers.spawn(pour(client.clone(), Arc::clone(&refusals)));
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("a call is stored or refused, and nothing else");
    }
    let mut client = client;
    put(&mut client, task("t")).await;
}

pub(crate) async fn what_there_is_no_room_for_is_refused_before_it_is_read(home: &Home) {
    let server = home.serve_with(Config { max_waiting_calls: 1, ..Config::default() }).await;
    let (client, refusals) = (client(&server), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        callers.spawn(pour(client.clone(), Arc::clone(&refusals)));
    }
    let mut raw = Grpc::new(server.operator());
    let mut turned_away = false;
    while !turned_away && refusals.load(Ordering::Relaxed) < REFUSALS {
        raw.ready().await.unwrap();
        let path = PathAndQuery::from_static("/nova.queue.v1.QueueService/Enqueue");
        let nonsense = tonic::Request::new(bytes::Bytes::from_static(b"no message at all"));
        let refusal = raw.unary(nonsense, path, RawCodec).await.unwrap_err();
        turned_away = refusal.code() == Code::ResourceExhausted;
    }
    assert!(turned_away, "it was read each time, and found to be no message");
    refusals.store(REFUSALS, Ordering::Relaxed);
    while callers.join_next().await.is_some() {}
}
