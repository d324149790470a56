//! Following the event stream: news for watches, a bell for calls that wait, and a beat that lets due tasks
//! and expired leases move on while nobody calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nova_storage::redis::{RedisStore as Server, Value};
use tokio::sync::{Notify, watch};

use crate::{
    error::Error,
    record::Cursor,
    store::redis::{
        gather::{Args, Gatherer, PREFIX},
        packed,
    },
};

/// Longest wait for the next event, so that a beat is never far.
const LONGEST: Duration = Duration::from_millis(500);

/// Rest after a connection that broke.
const REST: Duration = Duration::from_secs(1);

/// Most entries read at once.
const ENTRIES: usize = 256;

/// Calls that wait for work, by queue.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    by_queue: HashMap<Vec<u8>, HashMap<u64, Arc<Notify>>>,
    next: u64,
}

/// One call's place; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    bell: &'a Bell,
    queues: Vec<Vec<u8>>,
    number: u64,
    /// Rings when one of the queues may have work.
    pub(super) rung: Arc<Notify>,
}

impl Bell {
    /// Waits on queues.
    pub(super) fn wait_on(&self, queues: Vec<Vec<u8>>) -> Place<'_> {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        let rung = Arc::new(Notify::new());
        for queue in &queues {
            waiting.by_queue.entry(queue.clone()).or_default().insert(number, Arc::clone(&rung));
        }
        Place { bell: self, queues, number, rung }
    }

    fn ring(&self, queue: &[u8]) {
        for rung in self.waiting().by_queue.get(queue).into_iter().flat_map(HashMap::values) {
            rung.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.bell.waiting();
        for queue in &self.queues {
            if let Some(places) = waiting.by_queue.get_mut(queue) {
                places.remove(&self.number);
                if places.is_empty() {
                    waiting.by_queue.remove(queue);
                }
            }
        }
    }
}

/// What the follower works with.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) server: Server,
    pub(super) gatherer: std::sync::Weak<Gatherer>,
    pub(super) bell: Arc<Bell>,
    pub(super) news: watch::Sender<Cursor>,
}

impl Follower {
    /// Follows until the store is dropped.
    pub(super) async fn run(self) {
        while self.gatherer.strong_count() > 0 {
            if let Err(error) = self.follow().await {
                tracing::warn!(%error, "the event stream of the queue broke off; it will be followed again");
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn follow(&self) -> Result<(), Error> {
        let failed = |error: nova_storage::Error| Error::Store(error.to_string());
        let mut connection = self.server.blocking_connection(LONGEST).await.map_err(failed)?;
        let mut last = self.news.borrow().0;
        while let Some(gatherer) = self.gatherer.upgrade() {
            let wait = beat(&gatherer).await?;
            drop(gatherer);
            let mut command = ::redis::cmd("XREAD");
            command.arg("COUNT").arg(ENTRIES).arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(1));
            command.arg("STREAMS").arg(format!("{PREFIX}e")).arg(format!("{last}-0"));
            let answer: Value = command.query_async(&mut connection).await?;
            for (number, queues) in entries(&answer) {
                last = number;
                for queue in packed::names(queues)? {
                    self.bell.ring(queue.as_bytes());
                }
            }
            self.news.send_if_modified(|newest| {
                let grown = newest.0 < last;
                *newest = Cursor(last.max(newest.0), u64::MAX);
                grown
            });
        }
        Ok(())
    }
}

/// Lets what is due move on; answers how long until there is more, at least a millisecond.
async fn beat(gatherer: &Gatherer) -> Result<Duration, Error> {
    let args: Args = vec![b"T".to_vec()];
    let row = gatherer.owe(args).await?;
    let wait = row.first().and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok());
    let wait = wait.and_then(|micros| u64::try_from(micros).ok()).map_or(LONGEST, Duration::from_micros);
    Ok(wait.clamp(Duration::from_millis(1), LONGEST))
}

/// Number and queues with work of each entry in an answer to XREAD.
fn entries(answer: &Value) -> Vec<(u64, &[u8])> {
    let streams = array(answer).unwrap_or_default();
    let stream = streams.first().and_then(array).and_then(|stream| stream.get(1)).and_then(array);
    stream.unwrap_or_default().iter().filter_map(entry).collect()
}

fn entry(value: &Value) -> Option<(u64, &[u8])> {
    let [id, fields] = array(value)? else { return None };
    let number = std::str::from_utf8(bytes(id)?).ok()?.split('-').next()?.parse().ok()?;
    Some((number, bytes(array(fields)?.get(3)?)?))
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
