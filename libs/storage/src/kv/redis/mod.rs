//! The store over Redis, for any number of processes.
//!
//! Keys, all with the hash tag `{nkv:<name>}`:
//! - `:entries` HASH key → `<version>:<value>`; `:keys` ZSET of the keys, all with score 0, for ranges
//! - `:changes` STREAM, ids `<revision>-<ordinal>`, fields `k` (key) and `d` (1: deleted)
//! - `:state` HASH with `revision` and `floor`; `:commits` ZSET commit id → revision
//!
//! A commit is one function call, so it is atomic. Each carries an id of its own: when the connection
//! breaks it is sent again, and the server answers with what the first one did. Revisions are at least the
//! server's time in microseconds, so that a server that lost its last second does not give them out again.
//!
//! Whether a commit is still in time, the function decides, by the server's own clock: a call can lie on its way, and be
//! sent again, for longer than the caller knows. The clock is read before each call, so it need not agree with ours.

mod reply;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use self::reply::{ChangesReply, CommitReply, RangeReply};
use self::watcher::Watcher;
use super::entries::{Bounds, raise};
use super::{Change, Commit, Entry, Kv, MAX_PAGE, Range, Revision, Write, limits};
use crate::redis::{Functions, Library, RedisStore, RedisUrl};
use crate::{CommitError, Error};

const SOURCE: &str = include_str!("kv.lua");
/// How long a call is repeated while the server is away: a restart is a pause, not an error.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// [`Kv`] in Redis. Clones share it.
#[derive(Debug, Clone)]
pub struct RedisKv {
    functions: Functions,
    keys: Arc<Keys>,
    latest: Arc<watch::Sender<Revision>>,
    _watcher: Arc<Watcher>,
}

#[derive(Debug)]
struct Keys {
    entries: String,
    index: String,
    changes: String,
    state: String,
    commits: String,
}

/// The hash tag of a store's keys.
fn tag(name: &str) -> String {
    format!("nkv:{name}")
}

impl Keys {
    fn new(name: &str) -> Self {
        let key = |part: &str| format!("{{{}}}:{part}", tag(name));
        Self {
            entries: key("entries"),
            index: key("keys"),
            changes: key("changes"),
            state: key("state"),
            commits: key("commits"),
        }
    }
}

impl RedisKv {
    /// Connects to `url` and opens the store `name` there: one per daemon.
    ///
    /// # Errors
    /// See [`RedisStore::connect`].
    pub async fn connect(url: &RedisUrl, name: &str) -> Result<Self, Error> {
        let store = RedisStore::connect(url, &tag(name)).await?;
        let functions = store.load(Library::new("nova_kv", SOURCE)).await?;
        let keys = Arc::new(Keys::new(name));
        let revision = watcher::revision(&mut store.connection(), &keys.state).await?;
        let latest = Arc::new(watch::Sender::new(revision));
        let watcher = Watcher::start(store, &keys.state, &keys.changes, Arc::clone(&latest));
        Ok(Self { functions, keys, latest, _watcher: Arc::new(watcher) })
    }

    async fn fetch<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Error> {
        patiently(|| self.functions.store().query(command)).await
    }

    /// The same `id` again is the same commit again.
    async fn send(&self, id: uuid::Uuid, commit: &Commit) -> Result<CommitReply, Error> {
        let args = commit_arguments(id, self.in_its_time(commit.before).await?, commit);
        let keys = &self.keys;
        let keys = [&keys.entries, &keys.index, &keys.changes, &keys.state, &keys.commits];
        self.functions.write("commit", &keys, &args).await
    }

    /// A moment by the server's clock, or one before it, in microseconds; empty for none.
    async fn in_its_time(&self, moment: Option<Instant>) -> Result<Vec<u8>, Error> {
        let Some(moment) = moment else { return Ok(Vec::new()) };
        let (seconds, micros): (u64, u64) = self.functions.store().query(&redis::cmd("TIME")).await?;
        // Read after the answer, so that the time it took counts.
        let left = u64::try_from(moment.saturating_duration_since(Instant::now()).as_micros());
        let its = (seconds * 1_000_000 + micros).saturating_add(left.unwrap_or(u64::MAX));
        Ok(its.to_string().into_bytes())
    }

    /// A page of the log, whatever the prefix, from one moment. `from` is a stream id, excluded.
    async fn changes_from(&self, from: &str) -> Result<ChangesReply, Error> {
        let keys = [&self.keys.state, &self.keys.changes];
        let args = [format!("({from}"), MAX_PAGE.to_string()];
        patiently(|| self.functions.call("changes", &keys, &args)).await
    }
}

#[async_trait]
impl Kv for RedisKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        limits::key(key)?;
        let mut command = redis::cmd("HGET");
        command.arg(&self.keys.entries).arg(key);
        let record: Option<Vec<u8>> = self.fetch(&command).await?;
        record.map(|record| reply::entry(key.to_owned(), record)).transpose()
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        limits::range(&range)?;
        let Some(args) = range_arguments(&range) else { return Ok(Vec::new()) };
        let keys = [&self.keys.entries, &self.keys.index];
        let found: RangeReply = patiently(|| self.functions.call("range", &keys, &args)).await?;
        found.into_iter().map(|(key, record)| reply::entry(key, record)).collect()
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError> {
        limits::commit(&commit)?;
        let id = uuid::Uuid::new_v4();
        let reply = patiently(|| self.send(id, &commit)).await?;
        let revision = reply::of_commit(reply)?;
        self.latest.send_if_modified(|latest| raise(latest, revision));
        Ok(revision)
    }

    async fn changes(&self, prefix: &str, after: Revision, limit: usize) -> Result<Vec<Change>, Error> {
        limits::page(prefix, limit)?;
        let mut cursor = after;
        // The very last id cannot be excluded; it is of the future anyhow.
        let mut from = format!("{}-{}", after.min(u64::MAX - 1), u64::MAX);
        let mut changes: Vec<Change> = Vec::new();
        loop {
            let page = reply::changes(self.changes_from(&from).await?)?;
            if cursor < page.floor || cursor > page.revision {
                return Err(Error::CursorExpired { after, oldest: page.floor });
            }
            let complete = page.changes.len() < MAX_PAGE;
            for (id, change) in page.changes {
                // A full page still takes the rest of its last revision.
                let full = changes.len() >= limit;
                if full && changes.last().is_some_and(|last| last.revision != change.revision) {
                    return Ok(changes);
                }
                cursor = change.revision;
                from = id;
                if change.key.starts_with(prefix) {
                    changes.push(change);
                }
            }
            if complete {
                return Ok(changes);
            }
        }
    }

    async fn revision(&self) -> Result<Revision, Error> {
        patiently(|| async {
            let mut connection = self.functions.store().connection();
            watcher::revision(&mut connection, &self.keys.state).await
        })
        .await
    }

    async fn wait_past(&self, revision: Revision) -> Result<Revision, Error> {
        let mut latest = self.latest.subscribe();
        let reached = latest.wait_for(|latest| *latest > revision).await.map_err(|_| Error::Closed)?;
        Ok(*reached)
    }
}

/// None when the range is empty by itself, which the server would call an error.
fn range_arguments(range: &Range) -> Option<[String; 5]> {
    let bounds = Bounds::of_range(range);
    let lower = match (bounds.lower_excluded, bounds.lower.as_str()) {
        (false, "") => "-".to_owned(),
        (excluded, lower) => format!("{}{lower}", if excluded { '(' } else { '[' }),
    };
    let upper = match bounds.upper.as_deref() {
        Some("") => return None,
        Some(upper) => format!("({upper}"),
        None => "+".to_owned(),
    };
    let order = if range.descending { "descending" } else { "ascending" };
    let bytes = range.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    Some([lower, upper, order.to_owned(), range.limit.to_string(), bytes])
}

/// `id, before, checks, (key, version or "")…, writes, (P or D, key, value)…`
fn commit_arguments(id: uuid::Uuid, before: Vec<u8>, commit: &Commit) -> Vec<Vec<u8>> {
    let mut args = vec![id.into_bytes().to_vec(), before];
    args.push(commit.checks.len().to_string().into_bytes());
    for check in &commit.checks {
        args.push(check.key.clone().into_bytes());
        args.push(check.version.map_or_else(Vec::new, |version| version.to_string().into_bytes()));
    }
    args.push(commit.writes.len().to_string().into_bytes());
    for write in &commit.writes {
        args.push(if matches!(write, Write::Put { .. }) { b"P".to_vec() } else { b"D".to_vec() });
        args.push(write.key().as_bytes().to_vec());
        args.push(write.value().to_vec());
    }
    args
}

/// Repeats a call, which must be idempotent, while the server is away.
async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(error) if error.is_retryable() && Instant::now() < give_up => {
                tracing::warn!(%error, "redis call failed, trying again");
                tokio::time::sleep(RETRY_DELAY).await;
            }
            answer => return answer,
        }
    }
}
