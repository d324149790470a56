//! Producers that are faster than the disk.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{Client, Home, ask, client, complete, enqueue, refer, take, task};

/// Producers at once, and tasks of one call: more than may wait.
const PRODUCERS: usize = 24;
const BATCH: usize = 20;
/// Tasks that are worked while the flood lasts.
const WORKED: usize = 20;
/// Longest that they take: the flood, the daemon and the worker share the processors of the test.
const LONGEST: Duration = Duration::from_secs(120);

/// What producers were told.
#[derive(Debug, Default)]
struct Told {
    stored: Mutex<BTreeSet<String>>,
    refused: AtomicUsize,
}

/// Enqueues without end, and without a rest.
async fn flood(mut client: Client, told: Arc<Told>) {
    loop {
        match client.enqueue(enqueue(vec![task("t"); BATCH])).await {
            Ok(answer) => {
                let ids = answer.into_inner().tasks.into_iter().map(|task| task.id);
                told.stored.lock().unwrap().extend(ids);
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                assert!(status.get_error_details().retry_info().is_some(), "{status}");
                told.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Leases, heartbeats and completes one task; none of it is refused.
async fn work_one(client: &mut Client) -> String {
    let lease = take(client, ask()).await;
    let beat = pb::HeartbeatRequest { leases: vec![refer(&lease)], ..Default::default() };
    client.heartbeat(beat).await.unwrap();
    client.complete(complete(&lease, "r")).await.unwrap();
    lease.task.unwrap().id
}

async fn standing(client: &mut Client) -> u64 {
    let request = pb::GetQueueRequest { queue: "q".into(), ..Default::default() };
    let queue = client.get_queue(request).await.unwrap().into_inner().queue.unwrap();
    queue.stats.unwrap().ready
}

pub(crate) async fn a_flood_of_tasks_is_refused_and_stops_nobody_else(home: &Home) {
    let config = Config { max_waiting_calls: 8, max_waiting_bytes: 64 << 10, ..Config::default() };
    let server = home.serve_with(config).await;
    let told = Arc::new(Told::default());
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        producers.spawn(flood(client(&server), Arc::clone(&told)));
    }
    let mut worker = client(&server);
    let mut worked = BTreeSet::new();
    let working = async {
        while worked.len() < WORKED || told.refused.load(Ordering::Relaxed) == 0 {
            worked.insert(work_one(&mut worker).await);
        }
    };
    tokio::time::timeout(LONGEST, working).await.expect("workers go on while the flood lasts");
    assert!(producers.try_join_next().is_none(), "producers are only ever refused");
    producers.shutdown().await;
    let stored = std::mem::take(&mut *told.stored.lock().unwrap());
    // Calls that were cut off may have stored more than they were told.
    let standing = standing(&mut worker).await;
    assert!(standing + worked.len() as u64 >= stored.len() as u64, "{standing} stand of {}", stored.len());
    for id in stored.iter().rev().take(BATCH) {
        let request = pb::GetTaskRequest { task_id: id.clone(), ..Default::default() };
        worker.get_task(request).await.expect("what was acknowledged is there");
    }
}
