//! The queue inside Redis: a function library ([`LIBRARY`]) does every verb atomically, on Redis's own clock.
//!
//! Several daemons may share one Redis. Calls of one daemon are gathered ([`gather`]); the event stream wakes
//! the calls that wait, wherever the work came from ([`follow`]).

mod follow;
mod gather;
mod packed;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use nova_storage::redis::{Functions, Library, RedisStore as Server};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use self::{
    follow::{Bell, Follower},
    gather::{Args, Gathered, Gatherer, Row, gatherer},
    packed::{micros, micros_text, queue_key},
};
use crate::{
    core::{Limits, key_of},
    error::Error,
    record::{
        Cursor, Durability, Lease, LeaseRef, LeaseRequest, NewTask, Outcome, QueueStats, Receipt, Settled,
        Settlement, Task, TaskEvent, TaskFilter, TaskPage,
    },
    store::Store,
    task::{Micros, span},
};

/// The functions, one chunk.
const LIBRARY: &str = concat!(
    include_str!("state.lua"),
    include_str!("verbs.lua"),
    include_str!("reads.lua"),
    include_str!("batch.lua")
);

/// Most steps of one list call; each looks at 1,000 tasks.
const STEPS: usize = 16;

/// Longest wait for a bell before a call looks again by itself.
const LOOK: Duration = Duration::from_secs(1);

/// Bounds of what is held.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of tasks, queues, events and what is kept of ended tasks.
    pub limits: Limits,
    /// Most calls that wait to be sent, for each of the two ways in.
    pub calls: usize,
    /// Most bytes that those calls hold.
    pub bytes: usize,
}

/// A handle on the queue inside Redis. [`follow`](RedisStore::follow) must run for it to work.
#[derive(Debug)]
pub struct RedisStore {
    gatherer: Arc<Gatherer>,
    bell: Arc<Bell>,
    news: watch::Sender<Cursor>,
    background: Mutex<Option<(Gathered, Functions, Args)>>,
    server: Server,
    limits: Limits,
    durability: Durability,
}

impl RedisStore {
    /// Connects and loads the functions.
    ///
    /// # Errors
    /// The server cannot be reached, is too old, or may lose what it holds.
    pub async fn open(url: &str, settings: Settings) -> Result<Self, Error> {
        let failed = |error: nova_storage::Error| Error::Store(error.to_string());
        let server = Server::connect(url).await.map_err(failed)?;
        let functions = server.load(Library::new("nova_queue", LIBRARY)).await.map_err(failed)?;
        let head = head(&settings.limits);
        // Leases that live now get a grace: this may be the end of an outage.
        let newest = opening(&functions, &head).await?;
        let durability = durability(&server).await?;
        let (gatherer, gathered) = gatherer(settings.calls, settings.bytes);
        Ok(Self {
            gatherer: Arc::new(gatherer),
            bell: Arc::default(),
            news: watch::Sender::new(Cursor(newest, u64::MAX)),
            background: Mutex::new(Some((gathered, functions, head))),
            server,
            limits: settings.limits,
            durability,
        })
    }

    /// What must run beside the store, once; it ends when the store is dropped.
    pub fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        let follower = Follower {
            server: self.server.clone(),
            gatherer: Arc::downgrade(&self.gatherer),
            bell: Arc::clone(&self.bell),
            news: self.news.clone(),
        };
        async move {
            if let Some((gathered, functions, head)) = background {
                tokio::join!(gathered.run(functions, head), follower.run());
            }
        }
    }

    async fn lease_now(&self, request: &LeaseRequest) -> Result<Vec<Lease>, Error> {
        let mut args = vec![
            b"L".to_vec(),
            text(request.max),
            micros_text(request.duration),
            request.worker.as_bytes().to_vec(),
            text(request.queues.len()),
        ];
        args.extend(request.queues.iter().map(|queue| queue_key(&request.namespace, queue)));
        let row = self.gatherer.ask(args).await?;
        row.chunks_exact(3).map(lease).collect()
    }
}

fn lease(parts: &[Vec<u8>]) -> Result<Lease, Error> {
    let (task, token) = packed::task(&parts[0], &parts[1], &parts[2])?;
    let duration = span(task.status.expires - task.status.updated);
    Ok(Lease { task, token, duration })
}

/// What every function call begins with.
fn head(limits: &Limits) -> Args {
    vec![
        micros_text(limits.ageing_step),
        text(limits.finished),
        micros_text(limits.finished_for),
        text(limits.events),
        text(limits.tasks),
        text(limits.queues),
    ]
}

async fn opening(functions: &Functions, head: &Args) -> Result<u64, Error> {
    let args = [head.as_slice(), &[b"Z".to_vec(), b"D".to_vec()]].concat();
    let rows: Vec<Vec<String>> = functions
        .call("batch", &[gather::PREFIX], &args)
        .await
        .map_err(|error| Error::Store(error.to_string()))?;
    let newest = rows.get(1).and_then(|row| row.first()?.parse().ok());
    newest.ok_or_else(|| Error::Store("redis answered what the queue does not understand".into()))
}

/// What this server's acknowledgements survive.
async fn durability(server: &Server) -> Result<Durability, Error> {
    let mut command = ::redis::cmd("INFO");
    command.arg("persistence");
    let info: String = server.query(&command).await.map_err(|error| Error::Store(error.to_string()))?;
    Ok(if info.contains("aof_enabled:1") { Durability::Aof } else { Durability::Memory })
}

fn text(number: usize) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn enqueue_args(tasks: &[NewTask]) -> Args {
    let mut args = vec![b"E".to_vec(), text(tasks.len())];
    for task in tasks {
        let spec = &task.spec;
        args.extend([
            queue_key(&spec.namespace, &spec.queue),
            key_of(spec).map(|key| key.to_le_bytes().to_vec()).unwrap_or_default(),
            spec.body_hash.to_le_bytes().to_vec(),
            text(usize::from(spec.priority)),
            micros_text(task.delay),
            packed::record_head(&spec.retry, spec.attempt_timeout),
            packed::record_body(task),
        ]);
    }
    args
}

fn settle_args(namespace: &str, settlements: Vec<Settlement>) -> Args {
    let mut args = vec![b"S".to_vec(), namespace.as_bytes().to_vec(), text(settlements.len())];
    for Settlement { lease, outcome } in settlements {
        args.extend([lease.id.as_bytes().to_vec(), lease.token.to_be_bytes().to_vec()]);
        args.extend(match outcome {
            Outcome::Completed(result) => [b"C".to_vec(), result.to_vec(), Vec::new(), Vec::new()],
            Outcome::Released => [b"R".to_vec(), Vec::new(), Vec::new(), Vec::new()],
            Outcome::Failed { error, permanent, retry_after } => {
                let mut how = vec![u8::from(permanent)];
                how.extend_from_slice(&retry_after.map_or(-1.0, micros).to_le_bytes());
                how.extend_from_slice(&rand::random::<f64>().to_le_bytes());
                [b"F".to_vec(), error.reason.into_bytes(), error.message.into_bytes(), how]
            }
        });
    }
    args
}

fn receipts(row: &Row, tasks: &[NewTask], limits: &Limits) -> Result<Vec<Receipt>, Error> {
    let number = |at: usize| row.get(at).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    match row.first().map(Vec::as_slice) {
        Some(b"!full") => {
            let held = number(1).unwrap_or(0);
            Err(Error::TooManyTasks { held, limit: limits.tasks })
        }
        Some(b"!queues") => Err(Error::TooManyQueues(limits.queues)),
        Some(b"!mismatch") => {
            let task = number(1).and_then(|index: usize| tasks.get(index));
            let request_id = task.map(|task| task.spec.request_id.to_string()).unwrap_or_default();
            let id = row.get(2).and_then(|id| Uuid::from_slice(id).ok()).unwrap_or_default();
            Err(Error::IdempotencyMismatch { request_id, id })
        }
        _ => row.iter().map(|bytes| receipt(bytes)).collect(),
    }
}

fn receipt(bytes: &[u8]) -> Result<Receipt, Error> {
    let damaged = || Error::from(crate::codec::Damaged);
    let (flag, id) = bytes.split_last().ok_or_else(damaged)?;
    Ok(Receipt { id: Uuid::from_slice(id).map_err(|_| damaged())?, duplicate: *flag == 1 })
}

#[async_trait]
impl Store for RedisStore {
    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<Vec<Receipt>, Error> {
        let row = self.gatherer.ask(enqueue_args(&tasks)).await?;
        receipts(&row, &tasks, &self.limits)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>, Error> {
        let until = Instant::now() + request.wait;
        let queues = request.queues.iter().map(|queue| queue_key(&request.namespace, queue)).collect();
        let place = self.bell.wait_on(queues);
        loop {
            let leases = self.lease_now(&request).await?;
            if !leases.is_empty() || Instant::now() >= until {
                return Ok(leases);
            }
            let look = until.min(Instant::now() + LOOK);
            // Rung or not, the queues are looked at again.
            drop(timeout_at(look, place.rung.notified()).await);
        }
    }

    async fn heartbeat(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
        duration: Duration,
    ) -> Result<Vec<Option<Micros>>, Error> {
        let mut args =
            vec![b"H".to_vec(), namespace.as_bytes().to_vec(), micros_text(duration), text(leases.len())];
        for lease in leases {
            args.extend([lease.id.as_bytes().to_vec(), lease.token.to_be_bytes().to_vec()]);
        }
        let row = self.gatherer.owe(args).await?;
        let end = |bytes: &Vec<u8>| Ok(Some(packed::numbers::<1>(bytes)?[0]).filter(|end| *end > 0));
        row.iter().map(end).collect()
    }

    async fn settle(
        &self,
        namespace: &Arc<str>,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Settled>, Error> {
        let row = self.gatherer.owe(settle_args(namespace, settlements)).await?;
        let settled = |bytes: &Vec<u8>| {
            let (state, ready_at) = packed::settled(bytes)?;
            Ok(state.map_or(Settled::Lost, |state| Settled::Done { state, ready_at }))
        };
        row.iter().map(settled).collect()
    }

    async fn task(&self, namespace: &Arc<str>, id: Uuid) -> Result<Option<Task>, Error> {
        let args = vec![b"G".to_vec(), namespace.as_bytes().to_vec(), id.as_bytes().to_vec()];
        let row = self.gatherer.ask(args).await?;
        let [id, status, record, result] = row.as_slice() else { return Ok(None) };
        let (task, _) = packed::task(id, status, record)?;
        let result = (!result.is_empty()).then(|| Arc::from(result.as_slice()));
        Ok(Some(Task { result, ..task }))
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, Error> {
        let mut page = TaskPage { tasks: Vec::new(), next: filter.before };
        for _ in 0..STEPS {
            let limit = filter.limit - page.tasks.len();
            let row = self.gatherer.ask(list_args(&filter, page.next, limit)).await?;
            for parts in row.get(1..).unwrap_or_default().chunks_exact(3) {
                let (task, _) = packed::task(&parts[0], &parts[1], &parts[2])?;
                page.tasks.push(Task { payload: None, ..task });
            }
            page.next = row.first().and_then(|next| Uuid::from_slice(next).ok());
            if page.next.is_none() || page.tasks.len() >= filter.limit {
                break;
            }
        }
        Ok(page)
    }

    async fn queues(&self, namespace: &Arc<str>) -> Result<Vec<QueueStats>, Error> {
        let row = self.gatherer.ask(vec![b"Q".to_vec(), namespace.as_bytes().to_vec()]).await?;
        let mut queues = row.chunks_exact(2).map(stats).collect::<Result<Vec<_>, Error>>()?;
        queues.sort_by(|left, right| left.queue.cmp(&right.queue));
        Ok(queues)
    }

    async fn head(&self) -> Result<Cursor, Error> {
        let row = self.gatherer.ask(vec![b"D".to_vec()]).await?;
        let newest = row.first().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Ok(Cursor(newest.unwrap_or(0), u64::from(u32::MAX)))
    }

    async fn events(&self, after: Cursor, limit: usize) -> Result<Vec<TaskEvent>, Error> {
        let text = |number: u64| number.to_string().into_bytes();
        let args = vec![b"V".to_vec(), text(after.0), text(after.1), limit.to_string().into_bytes()];
        let row = self.gatherer.ask(args).await?;
        row.chunks_exact(5).map(event).collect()
    }

    fn news(&self) -> watch::Receiver<Cursor> {
        self.news.subscribe()
    }

    fn durability(&self) -> Durability {
        self.durability
    }
}

fn list_args(filter: &TaskFilter, before: Option<Uuid>, limit: usize) -> Args {
    let states: String = filter.states.iter().map(|state| state.code().to_string()).collect();
    vec![
        b"I".to_vec(),
        filter.namespace.as_bytes().to_vec(),
        filter.queue.as_ref().map(|queue| queue.as_bytes().to_vec()).unwrap_or_default(),
        states.into_bytes(),
        before.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        text(limit),
    ]
}

fn stats(parts: &[Vec<u8>]) -> Result<QueueStats, Error> {
    let counts = packed::numbers::<6>(&parts[1])?;
    let count = |at: usize| u64::try_from(counts[at]).unwrap_or(0);
    Ok(QueueStats {
        queue: String::from_utf8_lossy(&parts[0]).into(),
        waiting: count(0),
        ready: count(1),
        leased: count(2),
        completed: count(3),
        dead: count(4),
        oldest_ready: Some(counts[5]).filter(|at| *at > 0),
    })
}

fn event(parts: &[Vec<u8>]) -> Result<TaskEvent, Error> {
    let place = packed::numbers::<2>(&parts[0])?.map(|number| u64::try_from(number).unwrap_or(0));
    let (task, _) = packed::task(&parts[1], &parts[2], &parts[3])?;
    let result = (!parts[4].is_empty()).then(|| Arc::from(parts[4].as_slice()));
    let task = Task { payload: None, result, ..task };
    Ok(TaskEvent { cursor: Cursor(place[0], place[1]), at: task.status.updated, task })
}
