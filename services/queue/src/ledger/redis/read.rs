//! Reading the ledger in Redis: all of it for a new owner, single rows for everybody.

use std::sync::Arc;

use ::redis::{FromRedisValue, Pipeline, Value};
use async_trait::async_trait;
use nova_storage::redis::RedisStore as Server;
use uuid::Uuid;

use super::{
    rows::{self, Ending, bucket_of, unpack_ending, unpack_task},
    write::Buckets,
};
use crate::{
    codec::Damaged,
    core::{
        Core,
        entry::{Row, row_of},
        restore::{Counters, KeptEnding, KeptTask},
    },
    error::Error,
    ledger::{Enqueued, Reader, unpack_changes},
    record::{Cursor, Task, TaskEvent},
    task::State,
};

/// Buckets, or journal entries, that one call reads.
const CHUNK: usize = 64;

/// Rows with their bytes.
type Rows = Vec<(Row, Vec<u8>)>;

/// A journal entry: number of its first change, then fields.
type JournalEntry = (String, Vec<(String, Vec<u8>)>);

/// Reads what the ledger holds.
#[derive(Debug, Clone)]
pub(crate) struct RedisReader {
    server: Server,
}

impl RedisReader {
    /// A reader of one server.
    pub(crate) fn new(server: Server) -> Self {
        Self { server }
    }

    /// Fills an empty core with all that is there.
    pub(super) async fn restore(&self, core: &mut Core, buckets: &mut Buckets) -> Result<Counters, Error> {
        let mut settings = ::redis::cmd("HGETALL");
        settings.arg(rows::settings());
        for (key, value) in self.server.query::<Vec<(String, String)>>(&settings).await? {
            core.restore_fact(&key, &value)?;
        }
        let mut range = ::redis::cmd("ZRANGE");
        range.arg(rows::buckets()).arg(0).arg(-1);
        let all: Vec<u64> = self.server.query(&range).await?;
        for chunk in all.chunks(CHUNK) {
            for (tasks, endings) in self.whole(chunk).await? {
                restore_bucket(core, buckets, &tasks, &endings)?;
            }
        }
        let mut counters = self.restore_journal(core).await?;
        let mut floor = ::redis::cmd("HGET");
        floor.arg(rows::facts()).arg("floor");
        counters.floor = self.server.query::<Option<u64>>(&floor).await?.unwrap_or(0);
        Ok(counters)
    }

    /// Tasks and endings of whole buckets, ascending.
    async fn whole(&self, buckets: &[u64]) -> Result<Vec<(Rows, Rows)>, Error> {
        let mut pipe = ::redis::pipe();
        for bucket in buckets {
            pipe.cmd("HGETALL").arg(rows::tasks(*bucket));
            pipe.cmd("HGETALL").arg(rows::endings(*bucket));
        }
        let mut found: Vec<Rows> = self.pipe(&pipe).await?;
        for rows in &mut found {
            rows.sort_unstable_by_key(|(row, _)| *row);
        }
        let mut found = found.into_iter();
        Ok(std::iter::from_fn(|| Some((found.next()?, found.next()?))).collect())
    }

    async fn restore_journal(&self, core: &mut Core) -> Result<Counters, Error> {
        let mut counters = Counters::default();
        let mut after = String::from("-");
        loop {
            let entries = self.journal(&after, CHUNK).await?;
            for (first, entry) in &entries {
                let changes = unpack_changes(field(entry, "x")?)?;
                counters.last_entry = first + changes.len() as u64 - 1;
                counters.last_token = number(entry, "t")?;
                counters.last_row = number(entry, "r")?;
                core.restore_journal(*first, changes);
            }
            match entries.last() {
                Some((first, _)) if entries.len() == CHUNK => after = format!("({first}-0"),
                _ => return Ok(counters),
            }
        }
    }

    /// Journal entries from a place of the stream, oldest first.
    async fn journal(&self, from: &str, count: usize) -> Result<Vec<(u64, Vec<(String, Vec<u8>)>)>, Error> {
        let mut range = ::redis::cmd("XRANGE");
        range.arg(rows::journal()).arg(from).arg("+").arg("COUNT").arg(count);
        let entries: Vec<JournalEntry> = self.server.query(&range).await?;
        let first = |(id, fields): JournalEntry| {
            let first = id.split('-').next().and_then(|first| first.parse().ok()).ok_or(Damaged)?;
            Ok((first, fields))
        };
        entries.into_iter().map(first).collect()
    }

    /// Payloads of stored tasks, in order.
    pub(super) async fn payloads(&self, wanted: &[Row]) -> Result<Vec<Arc<[u8]>>, Error> {
        let found = self.rows(wanted, rows::tasks).await?;
        let payload = |(row, bytes): (&Row, Option<Vec<u8>>)| {
            let bytes = bytes.ok_or(Damaged)?;
            Ok(unpack_task(*row, &bytes)?.1.into())
        };
        wanted.iter().zip(found).map(payload).collect()
    }

    /// Checkpoints of stored tasks, in order.
    pub(super) async fn checkpoints(&self, wanted: &[Row]) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        let found = self.rows(wanted, rows::checkpoints).await?;
        Ok(found.into_iter().map(|bytes| bytes.map(Arc::from)).collect())
    }

    /// Endings of tasks, in order.
    pub(super) async fn ending_rows(&self, wanted: &[Row]) -> Result<Vec<Option<Ending>>, Error> {
        let found = self.rows(wanted, rows::endings).await?;
        let ending = |bytes: Option<Vec<u8>>| Ok(bytes.map(|bytes| unpack_ending(&bytes)).transpose()?);
        found.into_iter().map(ending).collect()
    }

    pub(super) async fn rows(
        &self,
        wanted: &[Row],
        key: fn(u64) -> Vec<u8>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut pipe = ::redis::pipe();
        for row in wanted {
            pipe.cmd("HGET").arg(key(bucket_of(*row))).arg(*row);
        }
        self.pipe(&pipe).await
    }

    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<Vec<T>, Error> {
        if pipe.cmd_iter().next().is_none() {
            return Ok(Vec::new());
        }
        let values: Vec<Value> = pipe.query_async(&mut self.server.connection()).await?;
        values.into_iter().map(|value| Ok(T::from_redis_value(value)?)).collect()
    }

    /// A stored task with its payload.
    async fn stored(&self, row: Row) -> Result<Option<(Enqueued, Arc<[u8]>)>, Error> {
        let mut get = ::redis::cmd("HGET");
        get.arg(rows::tasks(bucket_of(row))).arg(row);
        let Some(bytes) = self.server.query::<Option<Vec<u8>>>(&get).await? else { return Ok(None) };
        let (task, payload) = unpack_task(row, &bytes)?;
        Ok(Some((task, payload.into())))
    }
}

fn restore_bucket(core: &mut Core, buckets: &mut Buckets, tasks: &Rows, endings: &Rows) -> Result<(), Error> {
    for (row, bytes) in tasks {
        let (task, _) = unpack_task(*row, bytes)?;
        buckets.add(*row);
        let at = endings.binary_search_by_key(row, |(row, _)| *row).ok();
        let ending = at.map(|at| unpack_ending(&endings[at].1)).transpose()?;
        let kept = KeptTask {
            row: *row,
            id: task.id,
            spec: Arc::unwrap_or_clone(task.spec),
            payload_len: task.payload_len,
            created: task.created,
            ready_at: task.ready_at,
        };
        core.restore_task(kept, ending.map(|ending| kept_ending(&ending)))?;
    }
    Ok(())
}

fn kept_ending(ending: &Ending) -> KeptEnding {
    let result_len = ending.record.result.as_ref().map_or(0, |result| result.len());
    KeptEnding {
        state: ending.record.state,
        token: ending.token,
        journal: ending.journal,
        at: ending.record.at,
        result_len: u32::try_from(result_len).unwrap_or(u32::MAX),
    }
}

fn field<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Result<&'a [u8], Damaged> {
    let found = fields.iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value.as_slice()).ok_or(Damaged)
}

fn number(fields: &[(String, Vec<u8>)], name: &str) -> Result<u64, Damaged> {
    std::str::from_utf8(field(fields, name)?).ok().and_then(|text| text.parse().ok()).ok_or(Damaged)
}

#[async_trait]
impl Reader for RedisReader {
    async fn endings(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Task>>, Error> {
        self.listed(&ids).await
    }

    async fn ended(&self, id: Uuid) -> Result<Option<Task>, Error> {
        let stored = self.stored(row_of(id)).await?.filter(|(task, _)| task.id == id);
        let Some((task, payload)) = stored else { return Ok(None) };
        let ending = self.ending_rows(&[task.row]).await?.pop().flatten();
        let ended = ending.map(|ending| task.ended(ending.record));
        Ok(ended.map(|task| Task { payload: Some(payload), ..task }))
    }

    async fn payload(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        let stored = self.stored(row_of(id)).await?;
        Ok(stored.filter(|(task, _)| task.id == id).map(|(_, payload)| payload))
    }

    async fn checkpoint(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(self.checkpoints(&[row_of(id)]).await?.pop().flatten())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error> {
        let mut events = Vec::new();
        let mut from = self.entry_of(after + 1).await?;
        while events.len() < limit {
            let entries = self.journal(&from, CHUNK).await?;
            for (first, entry) in &entries {
                self.events_of(*first, entry, after, &mut events).await?;
            }
            let Some((first, _)) = entries.last().filter(|_| entries.len() == CHUNK) else { break };
            from = format!("({first}-0");
        }
        Ok(events)
    }
}

impl RedisReader {
    /// The journal entry that holds a change, as a place to range from.
    async fn entry_of(&self, number: u64) -> Result<String, Error> {
        let mut range = ::redis::cmd("XREVRANGE");
        range.arg(rows::journal()).arg(format!("{number}-0")).arg("-").arg("COUNT").arg(1);
        let found: Vec<JournalEntry> = self.server.query(&range).await?;
        Ok(found.into_iter().next().map_or_else(|| "-".into(), |(id, _)| id))
    }

    async fn events_of(
        &self,
        first: u64,
        entry: &[(String, Vec<u8>)],
        after: u64,
        events: &mut Vec<TaskEvent>,
    ) -> Result<(), Error> {
        let changes = unpack_changes(field(entry, "x")?)?;
        let shown = (first..).zip(changes).filter(|(number, change)| *number > after && change.event);
        let shown: Vec<_> = shown.collect();
        let wanted: Vec<Row> = shown.iter().map(|(_, change)| change.row).collect();
        let tasks = self.rows(&wanted, rows::tasks).await?;
        let endings = self.ending_rows(&wanted).await?;
        for (((number, change), bytes), ending) in shown.into_iter().zip(tasks).zip(endings) {
            let bytes = bytes.ok_or(Error::CursorExpired)?;
            let task = unpack_task(change.row, &bytes)?.0.task();
            let completed = change.status.state == State::Completed;
            let result = ending.filter(|_| completed).and_then(|ending| ending.record.result);
            let at = change.status.updated;
            let task = Task { status: change.status, result, ..task };
            events.push(TaskEvent { cursor: Cursor(number, 0), at, task });
        }
        Ok(())
    }
}
