//! A flood of tasks from many connections: what is too much is refused, nothing that was acknowledged is lost, and
//! nobody else stands still.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nova_chaos::history::{Answer, Call};
use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use nova_testkit::redis::RedisServer;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    caller::{Client, client},
    daemon::Daemon,
    load::{Load, PATIENCE, count},
};

/// Connections, callers of each, tasks of a call, bytes of a task: 64 MiB on their way at any time, and a call that its
/// caller has given up makes room for another.
const CONNECTIONS: usize = 8;
const CALLERS: usize = 64;
const BATCH: usize = 64;
const PAYLOAD: usize = 2_048;

/// How long callers of every other connection wait for an answer.
const IMPATIENCE: Duration = Duration::from_millis(20);

/// Calls that are refused before the flood may end, and calls of others that are answered meanwhile.
const REFUSED: usize = 300;
const CALLS: usize = 60;

/// What the daemon may grow by, bytes, beside what each task may take that it stored.
const GROWTH: u64 = 96 << 20;
const OF_A_TASK: u64 = 512;

/// Where the flood goes: the load's own tasks are elsewhere.
const NAMESPACE: &str = "flood";

/// Little may wait, as if the disk were slow.
fn little_room() -> Config {
    Config {
        max_waiting_calls: 8,
        max_waiting_bytes: 256 << 10,
        payload_cache_bytes: 8 << 20,
        ..Config::default()
    }
}

/// What producers were told.
#[derive(Debug, Default)]
struct Told {
    stored: Mutex<BTreeSet<String>>,
    refused: AtomicUsize,
    ebbing: AtomicBool,
}

/// Producers that do not rest when they are refused.
struct Flood {
    told: Arc<Told>,
    callers: JoinSet<()>,
}

impl Flood {
    fn start(address: &str) -> Self {
        let (told, mut callers) = (Arc::<Told>::default(), JoinSet::new());
        for number in 0..CONNECTIONS {
            let (connection, patience) =
                (client(address), if number % 2 == 0 { PATIENCE } else { IMPATIENCE });
            for _ in 0..CALLERS {
                callers.spawn(pour(connection.clone(), Arc::clone(&told), patience));
            }
        }
        Self { told, callers }
    }

    fn refused(&self) -> usize {
        self.told.refused.load(Ordering::Relaxed)
    }

    /// Ends it, and answers what was acknowledged.
    async fn ebb(mut self) -> BTreeSet<String> {
        self.told.ebbing.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("producers are only ever refused");
        }
        std::mem::take(&mut *self.told.stored.lock().unwrap())
    }
}

async fn pour(mut client: Client, told: Arc<Told>, patience: Duration) {
    while !told.ebbing.load(Ordering::Relaxed) {
        let Ok(answer) = tokio::time::timeout(patience, client.enqueue(tasks())).await else { continue };
        match answer {
            Ok(answer) => {
                let ids = answer.into_inner().tasks.into_iter().map(|task| task.id);
                told.stored.lock().unwrap().extend(ids);
            }
            Err(status) if status.get_error_details().retry_info().is_some() => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                told.refused.fetch_add(1, Ordering::Relaxed);
            }
            // A connection on which too many calls are given up is ended.
            Err(status) => assert_eq!(patience, IMPATIENCE, "{status}"),
        }
    }
}

fn tasks() -> pb::EnqueueRequest {
    let payload = vec![7; PAYLOAD].into();
    let task = pb::NewTask { queue: "q".into(), kind: "k".into(), payload, ..Default::default() };
    pb::EnqueueRequest { namespace: NAMESPACE.into(), tasks: vec![task; BATCH] }
}

/// Every task of the flood that there is.
async fn stands(client: &mut Client) -> BTreeSet<String> {
    let (mut ids, mut page_token) = (BTreeSet::new(), String::new());
    loop {
        let request = pb::ListTasksRequest {
            namespace: NAMESPACE.into(),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = client.list_tasks(request).await.unwrap().into_inner();
        ids.extend(page.tasks.into_iter().map(|task| task.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return ids;
        }
    }
}

/// Heartbeats that found their lease.
fn beats(load: &Load) -> usize {
    let beat = |call: &Call, answer: &Answer| matches!((call, answer), (Call::Heartbeat(..), Answer::Extended(found)) if found[0]);
    load.recorder.look(|history| count(history, beat))
}

async fn is_refused_and_stops_nobody_else(store: &str) {
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start_with(folder.path(), store, little_room());
    let load = Load::start(21, [daemon.address()]);
    load.get_on(CALLS).await;
    let (quiet, before) = (daemon.memory(), beats(&load));
    let flood = Flood::start(&daemon.address());
    let mut most = 0;
    load.wait_for("the flood is refused", || {
        most = most.max(daemon.memory());
        flood.refused() >= REFUSED
    })
    .await;
    load.get_on(CALLS).await;
    load.wait_for("workers keep their leases", || beats(&load) > before).await;
    most = most.max(daemon.memory());
    let stored = flood.ebb().await;
    let stands = stands(&mut client(&daemon.address())).await;
    let (grown, tasks) = (most.saturating_sub(quiet), stands.len() as u64);
    assert!(grown < GROWTH + OF_A_TASK * tasks, "it grew by {grown} bytes while {tasks} tasks were stored");
    let lost: Vec<_> = stored.difference(&stands).collect();
    assert!(!stored.is_empty() && lost.is_empty(), "{} of {} are lost", lost.len(), stored.len());
    let (history, _) = load.check().await;
    assert_eq!(count(&history, is_refused_for_a_worker), 0, "workers pay for the flood");
}

/// Whether a heartbeat or a settlement was turned away.
fn is_refused_for_a_worker(call: &Call, answer: &Answer) -> bool {
    matches!(call, Call::Heartbeat(..) | Call::Report(..) | Call::Settle(..)) && *answer == Answer::Refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_sqlite_is_refused_and_stops_nobody_else() {
    is_refused_and_stops_nobody_else("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_redis_is_refused_and_stops_nobody_else() {
    let redis = RedisServer::start();
    is_refused_and_stops_nobody_else(&redis.url()).await;
}
