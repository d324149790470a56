//! The ledger in Redis: what a read costs, and who owns it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nova_testkit::{redis::RedisServer, soon};
use nova_types::SystemClock;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Claimant, RedisLedger, RedisReader, heads::Part};
use crate::{
    config::Config,
    error::Error,
    ledger::{Ledger as _, Reader as _, Standing},
    mark::Mark,
    record::{Durability, Fits, Lease, LeaseRequest, NewTask, Outcome, Proof, Settlement, Spec, TaskFilter},
    store::{Store, open_redis},
    task::{Retry, State},
};

/// What the queue waits after the end of a proof.
const MARGIN: Duration = Duration::from_secs(2);

/// Bytes of a payload, and of a result.
const LONG: usize = 256 << 10;

/// Tasks with long payloads; those of the first half complete with long results.
const TASKS: usize = 24;

fn claimant() -> Claimant {
    Claimant::new("http://here:1").unwrap()
}

async fn open(redis: &RedisServer) -> Store {
    let url = redis.url().parse().unwrap();
    open_redis(&url, claimant(), Config::default().settings(), Arc::new(SystemClock)).await.unwrap()
}

fn long_task() -> NewTask {
    let spec = Spec {
        namespace: "default".into(),
        queue: "q".into(),
        kind: "k".into(),
        metadata: vec![("run".into(), "7".into())],
        request_id: "".into(),
        body_hash: 0,
        priority: 0,
        retry: Retry::default(),
        attempt_timeout: None,
        traceparent: "".into(),
        group: "".into(),
        terms: None,
    };
    NewTask { spec, payload: vec![0x81; LONG].into(), delay: Duration::ZERO, after_index: Vec::new() }
}

fn request() -> LeaseRequest {
    LeaseRequest {
        namespace: "default".into(),
        queues: vec!["q".into()],
        worker: "w".into(),
        max: 1,
        duration: Duration::from_secs(60),
        wait: Duration::ZERO,
        stream: 0,
        mark: Mark::default(),
    }
}

async fn take(store: &Store) -> Lease {
    store.lease(request()).await.unwrap().remove(0)
}

/// A store of [`TASKS`] tasks; and the ids of those that completed.
async fn filled(redis: &RedisServer) -> (Store, Vec<Uuid>) {
    let store = open(redis).await;
    for _ in 0..TASKS {
        store.enqueue(vec![long_task()]).await.unwrap();
    }
    let mut completed = Vec::new();
    for _ in 0..TASKS / 2 {
        let lease = take(&store).await.refer();
        completed.push(lease.id);
        let settlement = Settlement { lease, outcome: Outcome::Completed(vec![0x82; LONG].into()) };
        store.settle(&"default".into(), vec![settlement]).await.unwrap();
    }
    (store, completed)
}

/// Bytes that the server has sent so far.
fn sent(redis: &RedisServer) -> usize {
    let stats: String = redis.query(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    line.trim().parse().unwrap()
}

fn everything() -> TaskFilter {
    TaskFilter {
        namespace: "default".into(),
        queue: None,
        states: Vec::new(),
        before: None,
        limit: 2 * TASKS,
        fits: Fits::default(),
    }
}

#[tokio::test]
async fn a_new_owner_and_lists_read_no_payloads_and_no_results() {
    let redis = RedisServer::start();
    drop(filled(&redis).await);
    let before = sent(&redis);
    let store = open(&redis).await;
    let listed = store.tasks(everything()).await.unwrap().tasks;
    let read = sent(&redis) - before;
    assert!(read < LONG, "{read} bytes were read");
    assert_eq!(listed.len(), TASKS);
    assert!(listed.iter().all(|task| task.payload_len as usize == LONG));
    assert_eq!(take(&store).await.task.payload.map(|payload| payload.len()), Some(LONG));
}

#[tokio::test]
async fn an_ended_task_is_read_whole() {
    let redis = RedisServer::start();
    let (store, completed) = filled(&redis).await;
    let task = store.task(&"default".into(), completed[0]).await.unwrap().unwrap();
    let lens = [task.payload, task.result].map(|bytes| bytes.map(|bytes| bytes.len()));
    assert_eq!((task.status.state, lens), (State::Completed, [Some(LONG), Some(LONG)]));
}

#[tokio::test]
async fn a_read_looks_at_no_more_bytes_than_it_may() {
    let redis = RedisServer::start();
    let (_store, _) = filled(&redis).await;
    let reader =
        RedisReader { bytes: LONG, ..RedisReader::open(&redis.url().parse().unwrap()).await.unwrap() };
    let rows: Vec<_> = (1..=TASKS as u64).collect();
    let (mut left, mut steps) = (&rows[..], 0);
    while !left.is_empty() {
        let heads = reader.first_heads(Part::Task, left).await.unwrap();
        assert!(heads.iter().all(Option::is_some));
        left = &left[heads.len()..];
        steps += 1;
    }
    assert!(steps > 1, "{TASKS} tasks in one step");
    let events = reader.events(0, 10 * TASKS).await.unwrap();
    assert!(events.iter().filter(|event| event.task.result.is_some()).count() <= 1);
}

#[tokio::test]
async fn old_events_come_with_their_results_a_few_at_a_time() {
    let redis = RedisServer::start();
    let (_store, completed) = filled(&redis).await;
    let reader =
        RedisReader { bytes: 3 * LONG, ..RedisReader::open(&redis.url().parse().unwrap()).await.unwrap() };
    let (mut after, mut told) = (0, Vec::new());
    while let Some(page) = Some(reader.events(after, 1_000).await.unwrap()).filter(|page| !page.is_empty()) {
        after = page.last().unwrap().cursor.0;
        let results: Vec<_> = page.iter().filter(|event| event.task.result.is_some()).collect();
        assert!(results.len() <= 3, "{} results in one page", results.len());
        told.extend(results.iter().map(|event| event.task.id));
    }
    assert_eq!(told, completed);
}

/// A ledger whose claims must be renewed all the time.
async fn breathless(redis: &RedisServer) -> RedisLedger {
    let standing = watch::Sender::new(Standing::at(Durability::Memory));
    let ledger = RedisLedger::open(&redis.url().parse().unwrap(), claimant(), standing).await.unwrap();
    RedisLedger { lasts: Duration::ZERO, ..ledger }
}

/// Number of the last commit.
fn commit(redis: &RedisServer) -> u64 {
    redis.query(&["HGET", "{nova.queue}:m", "commit"])
}

#[tokio::test]
async fn a_claim_is_renewed_while_the_ledger_is_read() {
    const BUCKETS: u64 = 4;
    let redis = RedisServer::start();
    let store = open(&redis).await;
    for _ in 0..BUCKETS {
        let tasks = (0..1_024).map(|_| NewTask { payload: Arc::from([7]), ..long_task() });
        store.enqueue(tasks.collect()).await.unwrap();
    }
    drop(store);
    let mut ledger = breathless(&redis).await;
    // Whoever led before has given its claim back, or loses it.
    let mut before = commit(&redis);
    while let Err(error) = ledger.recover(Config::default().limits(), 1, 0).await {
        assert!(matches!(error, Error::Owned { .. }), "{error}");
        tokio::task::yield_now().await;
        before = commit(&redis);
    }
    assert!(commit(&redis) - before >= BUCKETS, "the claim is renewed with each bucket");
}

/// A lease of a store that its Redis then forgets, as a failover does: the last commits are gone.
async fn lost_lease(redis: &RedisServer, store: &Store) -> (Lease, Proof, Instant) {
    store.enqueue(vec![NewTask { payload: Arc::from([7]), ..long_task() }]).await.unwrap();
    let before = commit(redis).to_string();
    redis.query::<()>(&["COPY", "{nova.queue}:j", "{nova.queue}:before"]);
    let brief = LeaseRequest { duration: Duration::from_secs(3), ..request() };
    let lease = store.lease(brief).await.unwrap().remove(0);
    let asked = Instant::now();
    let proof = store.prove(&"default".into(), vec![lease.refer()]).await.unwrap()[0].expect("it is held");
    redis.query::<()>(&["COPY", "{nova.queue}:before", "{nova.queue}:j", "REPLACE"]);
    redis.query::<()>(&["HSET", "{nova.queue}:m", "commit", &before]);
    (lease, proof, asked)
}

#[tokio::test]
async fn a_lease_that_redis_has_lost_is_handed_on_only_after_its_proof() {
    let redis = RedisServer::start();
    let store = open(&redis).await;
    let (lost, proof, asked) = lost_lease(&redis, &store).await;
    let request = || LeaseRequest { wait: Duration::from_millis(500), ..request() };
    // Memory still has the lease until the loss is noticed, and callers who wait then are told of it.
    let given = || async { store.lease(request()).await.ok()?.pop() };
    let next = soon("the task is given again", Duration::from_secs(60), given).await;
    assert_eq!(next.task.id, lost.task.id);
    assert!(asked.elapsed() >= proof.duration + MARGIN, "it was handed on after {:?}", asked.elapsed());
}

#[tokio::test]
async fn daemons_of_two_hosts_at_the_same_url_do_not_depose_each_other() {
    let redis = RedisServer::start();
    let url = "https://127.0.0.1:7101";
    let claim = async |host: &str| {
        let standing = watch::Sender::new(Standing::at(Durability::Memory));
        let claimant = Claimant { host: host.into(), ..Claimant::new(url).unwrap() };
        let mut ledger = RedisLedger::open(&redis.url().parse().unwrap(), claimant, standing).await.unwrap();
        // Longer than this test takes.
        ledger.lasts = Duration::from_secs(3_600);
        let claimed = ledger.claim(0).await;
        (ledger, claimed)
    };
    claim("a").await.1.expect("nobody owns it");
    let (second, refused) = claim("b").await;
    let Err(Error::Owned { url: told, host, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((&*told, &*host), (url, "a"));
    assert!(!second.claimant.finds_gone(&told, &host).await);
    let (again, refused) = claim("a").await;
    let Err(Error::Owned { url: told, host, .. }) = refused else { panic!("{refused:?}") };
    assert!(again.claimant.finds_gone(&told, &host).await, "this daemon was started again");
}
