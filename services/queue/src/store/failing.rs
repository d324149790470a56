//! What a commit that fails leaves behind: nothing, and callers who know.

use std::{sync::Arc, time::Duration};

use nova_types::{Clock as _, SystemClock};
use tempfile::TempDir;

use super::{Store, open_sqlite};
use crate::{
    config::Config,
    cron::Cron,
    error::Error,
    mark::Mark,
    record::{Cursor, LeaseRef, LeaseRequest, NewTask, Outcome, Receipt, Settled, Settlement, Spec},
    schedule::{Missed, Schedule},
    task::{Retry, State},
};

/// A store whose file can be made to refuse new tasks.
struct Failing {
    folder: TempDir,
    store: Store,
}

impl Failing {
    async fn open() -> Self {
        let folder = TempDir::new().unwrap();
        let (path, settings) = (folder.path().join("queue.db"), Config::default().settings());
        let store = open_sqlite(path, settings, Arc::new(SystemClock)).await.unwrap();
        Self { folder, store }
    }

    /// One that keeps no payloads in memory.
    async fn without_cache() -> Self {
        let folder = TempDir::new().unwrap();
        let config = Config { payload_cache_bytes: 0, ..Config::default() };
        let (path, settings) = (folder.path().join("queue.db"), config.settings());
        let store = open_sqlite(path, settings, Arc::new(SystemClock)).await.unwrap();
        Self { folder, store }
    }

    fn execute(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join("queue.db")).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn break_it(&self) {
        self.execute("CREATE TRIGGER broken BEFORE INSERT ON task BEGIN SELECT RAISE(ABORT, 'broken'); END");
    }

    fn mend(&self) {
        self.execute("DROP TRIGGER broken");
    }

    async fn put(&self) -> Result<Receipt, Error> {
        Ok(self.store.enqueue(vec![task()]).await?[0])
    }

    fn ask(&self, wait: Duration) -> LeaseRequest {
        LeaseRequest {
            namespace: "default".into(),
            queues: vec!["q".into()],
            worker: "w".into(),
            max: 1,
            duration: Duration::from_secs(30),
            wait,
            stream: 0,
            mark: Mark::default(),
        }
    }

    async fn take(&self) -> Option<LeaseRef> {
        let lease = self.store.lease(self.ask(Duration::ZERO)).await.ok()?.into_iter().next()?;
        Some(lease.refer())
    }
}

fn task() -> NewTask {
    let spec = Spec {
        namespace: "default".into(),
        queue: "q".into(),
        kind: "k".into(),
        metadata: Vec::new(),
        request_id: "".into(),
        body_hash: 0,
        priority: 0,
        retry: Retry::default(),
        attempt_timeout: None,
        traceparent: "".into(),
        group: "".into(),
        terms: None,
    };
    NewTask { spec, payload: Arc::from(&b"p"[..]), delay: Duration::ZERO, after_index: Vec::new() }
}

fn every_second() -> Schedule {
    Schedule {
        key: ("default".into(), "s".into()),
        cron: Arc::new(Cron::parse("* * * * * *", "").unwrap()),
        task: task(),
        said: Arc::from(&b""[..]),
        missed: Missed::Once,
        paused: false,
        created: 0,
        seen: 0,
        last: None,
        skipped: 0,
    }
}

#[tokio::test]
async fn a_commit_that_fails_stores_nothing_and_the_queue_goes_on() {
    let queue = Failing::open().await;
    queue.put().await.unwrap();
    let lease = queue.take().await.unwrap();
    queue.break_it();
    assert!(matches!(queue.put().await, Err(Error::Store(_))));
    assert_eq!(queue.take().await, None, "the refused task is not there");
    queue.mend();
    let receipt = queue.put().await.unwrap();
    let second = queue.take().await.unwrap();
    assert_eq!(second.id, receipt.id);
    assert!(second.token > lease.token);
    let settlement = Settlement { lease, outcome: Outcome::Completed(Arc::from(&b"r"[..])) };
    let settled = queue.store.settle(&"default".into(), vec![settlement]).await.unwrap();
    assert!(matches!(settled[0], Settled::Done { state: State::Completed, .. }));
}

#[tokio::test]
async fn a_tick_whose_commit_fails_fires_when_it_can() {
    let queue = Failing::open().await;
    let stored = queue.store.put_schedule(every_second()).await.unwrap();
    let first = stored.next().unwrap();
    queue.break_it();
    let failed = async {
        while SystemClock.now().micros() < first + 300_000 {
            assert_eq!(queue.take().await, None);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    failed.await;
    queue.mend();
    let mut ticks = Vec::new();
    while ticks.len() < 3 {
        let leases = queue.store.lease(queue.ask(Duration::from_secs(10))).await.unwrap();
        ticks.extend(leases.iter().filter_map(|lease| {
            let tick: jiff::Timestamp = lease.task.spec.label("tick")?.parse().ok()?;
            Some(tick.as_microsecond())
        }));
    }
    assert_eq!(ticks, [first, first + 1_000_000, first + 2_000_000]);
}

#[tokio::test]
async fn a_payload_that_memory_did_not_keep_comes_from_the_file() {
    let queue = Failing::without_cache().await;
    let id = queue.put().await.unwrap().id;
    let task = queue.store.task(&"default".into(), id).await.unwrap().unwrap();
    assert_eq!(task.payload.as_deref(), Some(&b"p"[..]));
    assert_eq!(queue.take().await.map(|lease| lease.id), Some(id));
}

#[tokio::test]
async fn tasks_whose_payloads_cannot_be_read_go_back_unstarted() {
    let queue = Failing::without_cache().await;
    queue.put().await.unwrap();
    queue.execute("ALTER TABLE task RENAME TO hidden");
    let refused = queue.store.lease(queue.ask(Duration::ZERO)).await;
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    queue.execute("ALTER TABLE hidden RENAME TO task");
    let lease = queue.store.lease(queue.ask(Duration::ZERO)).await.unwrap().remove(0);
    assert_eq!(lease.task.status.attempts, 1, "no attempt was burnt");
    assert_eq!(lease.task.payload.as_deref(), Some(&b"p"[..]));
}

#[tokio::test]
async fn a_task_whose_record_is_gone_dies_of_it_alone() {
    let queue = Failing::without_cache().await;
    let (gone, whole) = (queue.put().await.unwrap(), queue.put().await.unwrap());
    queue.execute("DELETE FROM task WHERE row = 1");
    let leases = queue.store.lease(LeaseRequest { max: 2, ..queue.ask(Duration::ZERO) }).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.task.id).collect::<Vec<_>>(), [whole.id]);
    let counts = queue.store.queues(&"default".into(), String::new(), 10).await.unwrap();
    assert_eq!((counts[0].leased, counts[0].dead), (1, 1));
    let events = queue.store.events(Cursor(0, 0), 100, &|_| true).await.unwrap().events;
    let last = events.iter().rfind(|event| event.task.id == gone.id).unwrap();
    let error = last.task.status.last_error.as_deref().unwrap();
    assert_eq!((last.task.status.state, &*error.reason), (State::Dead, "PAYLOAD_LOST"));
}

#[tokio::test]
async fn a_second_daemon_is_kept_from_the_file() {
    let queue = Failing::open().await;
    let (path, settings) = (queue.folder.path().join("queue.db"), Config::default().settings());
    let second = open_sqlite(path, settings, Arc::new(SystemClock)).await;
    assert!(second.is_err());
}
