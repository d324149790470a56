//! The queue in a SQLite file: memory decides, the file remembers.
//!
//! [`engine`] is one thread that owns memory ([`crate::core`]) and the writing connection. Callers reach it
//! through a bounded [`inbox`]; ended tasks, lists and old events are read beside it ([`read`]).

mod answer;
mod commit;
mod engine;
#[cfg(test)]
mod failing;
mod inbox;
mod parked;
mod read;
mod recover;
mod ring;
mod schema;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use nova_types::Clock;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use self::{
    commit::Writer,
    engine::{Engine, Parts},
    inbox::{Command, Inbox, Outlet, inbox},
    read::{Enqueued, Readers},
    recover::recover,
    ring::Ring,
};
use crate::{
    core::{Limits, entry::row_of},
    error::Error,
    record::{
        Cursor, Durability, Lease, LeaseRef, LeaseRequest, NewTask, QueueStats, Receipt, Settled, Settlement,
        Task, TaskEvent, TaskFilter, TaskPage,
    },
    store::Store,
    task::Micros,
};

/// Rows that one step of a list looks at.
const SCAN: usize = 1_024;

/// Most steps of one list call.
const STEPS: usize = 16;

/// Where and how the file is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Bounds of what is held.
    pub limits: Limits,
    /// Most calls that wait for the engine, for each of the two ways in.
    pub calls: usize,
    /// Most bytes that those calls hold.
    pub bytes: usize,
}

/// A handle on the queue in a SQLite file. The engine ends when the last handle is dropped.
#[derive(Debug)]
pub struct SqliteStore {
    inbox: Inbox,
    ring: Arc<Ring>,
    readers: Arc<Readers>,
    stopped: Mutex<Option<oneshot::Receiver<Result<(), Error>>>>,
}

impl SqliteStore {
    /// Opens the file, builds memory from it, and starts the engine.
    ///
    /// # Errors
    /// The file cannot be used, or another daemon uses it.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let readers = Arc::new(Readers::new(&settings.path));
        let (callers, outlet) = inbox(settings.calls, settings.bytes);
        let (opened, ring) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let ended = run(&settings, clock, outlet, opened);
            // Nobody listens any more when the store was dropped first.
            drop(stop.send(ended));
        };
        std::thread::Builder::new()
            .name("queue-engine".into())
            .spawn(run)
            .map_err(|error| Error::Store(error.to_string()))?;
        let Ok(ring) = ring.await else {
            return Err(stopped.await.map_err(|_| Error::Closed)?.err().unwrap_or(Error::Closed));
        };
        Ok(Self { inbox: callers, ring, readers, stopped: Mutex::new(Some(stopped)) })
    }

    /// Waits until the engine ends, which it does on its own only when it cannot go on.
    ///
    /// # Errors
    /// Why it could not.
    pub fn stopped(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match stopped {
                Some(stopped) => stopped.await.unwrap_or(Err(Error::Closed)),
                None => Ok(()),
            }
        }
    }

    async fn page(&self, filter: &TaskFilter, chunk: Vec<Enqueued>) -> Result<Vec<Task>, Error> {
        let rows: Vec<_> = chunk.iter().map(|task| task.row).collect();
        let live = self.inbox.look(move |core| core.statuses(&rows)).await?;
        let read = move |connection: &rusqlite::Connection| {
            let mut tasks = Vec::with_capacity(chunk.len());
            for (live, stored) in live.into_iter().zip(chunk) {
                tasks.extend(match live {
                    Some(task) => Some(task),
                    None => read::ending(connection, stored)?,
                });
            }
            Ok(tasks)
        };
        let mut tasks = self.readers.read(read).await?;
        tasks.retain(|task| filter.states.is_empty() || filter.states.contains(&task.status.state));
        Ok(tasks)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<Vec<Receipt>, Error> {
        self.inbox.ask(|reply| Command::Enqueue(tasks, reply)).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>, Error> {
        self.inbox.ask(|reply| Command::Lease(request, reply)).await
    }

    async fn heartbeat(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
        duration: Duration,
    ) -> Result<Vec<Option<Micros>>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.ask(|reply| Command::Heartbeat(namespace, leases, duration, reply)).await
    }

    async fn settle(
        &self,
        namespace: &Arc<str>,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Settled>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.ask(|reply| Command::Settle(namespace, settlements, reply)).await
    }

    async fn task(&self, namespace: &Arc<str>, id: Uuid) -> Result<Option<Task>, Error> {
        let wanted = Arc::clone(namespace);
        let live = self.inbox.look(move |core| core.task(&wanted, id)).await?;
        let Some(mut task) = live else {
            let ended = self.readers.read(move |connection| read::ended(connection, id)).await?;
            return Ok(ended.filter(|task| task.spec.namespace == *namespace));
        };
        if task.payload.is_none() {
            task.payload = self.readers.read(move |connection| read::payload(connection, id)).await?;
        }
        Ok(Some(task))
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, Error> {
        let mut page = TaskPage::default();
        let mut before = filter.before.map_or(u64::MAX, row_of);
        for _ in 0..STEPS {
            let mut chunk =
                self.readers.read(move |connection| read::before(connection, before, SCAN)).await?;
            let Some(last) = chunk.last().map(|task| (task.row, task.id)) else {
                page.next = None;
                return Ok(page);
            };
            before = last.0;
            page.next = Some(last.1);
            chunk.retain(|task| matches(&filter, task));
            for task in self.page(&filter, chunk).await? {
                if page.tasks.len() == filter.limit {
                    page.next = page.tasks.last().map(|task| task.id);
                    return Ok(page);
                }
                page.tasks.push(Task { result: None, ..task });
            }
        }
        Ok(page)
    }

    async fn queues(&self, namespace: &Arc<str>) -> Result<Vec<QueueStats>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.look(move |core| core.stats(&namespace)).await
    }

    async fn head(&self) -> Result<Cursor, Error> {
        Ok(self.ring.head())
    }

    async fn events(&self, after: Cursor, limit: usize) -> Result<Vec<TaskEvent>, Error> {
        let Cursor(after, _) = after;
        if after < self.ring.floor() || after > self.ring.head().0 {
            return Err(Error::CursorExpired);
        }
        match self.ring.after(after, limit) {
            Some(events) => Ok(events),
            None => self.readers.read(move |connection| read::events(connection, after, limit)).await,
        }
    }

    fn news(&self) -> watch::Receiver<Cursor> {
        self.ring.subscribe()
    }

    fn durability(&self) -> Durability {
        Durability::Synced
    }
}

fn matches(filter: &TaskFilter, task: &Enqueued) -> bool {
    let queue = filter.queue.as_ref().is_none_or(|queue| task.spec.queue == *queue);
    queue && task.spec.namespace == filter.namespace
}

/// The engine's thread.
fn run(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    outlet: Outlet,
    opened: oneshot::Sender<Arc<Ring>>,
) -> Result<(), Error> {
    let _lock: File = schema::lock(&settings.path)?;
    let connection = schema::open(Path::new(&settings.path))?;
    let noise = rand::random();
    let limits = settings.limits.clone();
    let (core, counters) = recover(&connection, limits.clone(), noise, clock.now().micros())?;
    let mut writer = Writer::new(&connection)?;
    writer.start_from(counters.last_row, counters.floor);
    let ring = Arc::new(Ring::new(core.head(), core.floor()));
    let parts = Parts { limits, noise, clock, outlet, ring: Arc::clone(&ring) };
    let engine = Engine::new(&connection, writer, core, parts)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Store(error.to_string()))?;
    if opened.send(ring).is_err() {
        return Ok(());
    }
    runtime.block_on(engine.run())
}
