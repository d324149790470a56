//! Reading the ledger in Redis beside its owner: lists, single rows, old events.

use std::sync::Arc;

use ::redis::{FromRedisValue, Pipeline, Value};
use async_trait::async_trait;
use nova_storage::redis::{Functions, RedisStore as Server, RedisUrl};
use uuid::Uuid;

use super::{
    heads::{BYTES, Part, head_of},
    library,
    rows::{self, BUCKET, Ending, TAG, bucket_of, unpack_ending, unpack_task},
};
use crate::{
    codec::Damaged,
    core::entry::{Row, row_of},
    error::Error,
    ledger::{Enqueued, Reader},
    record::{Task, TaskEvent},
};

/// Reads what the ledger holds.
#[derive(Debug, Clone)]
pub(crate) struct RedisReader {
    pub(super) functions: Functions,
    /// Most bytes that one read looks at.
    pub(super) bytes: usize,
}

impl RedisReader {
    /// A reader on a connection of its own.
    ///
    /// # Errors
    /// The server cannot be reached, is too old, or may lose what it holds.
    pub(crate) async fn open(url: &RedisUrl) -> Result<Self, Error> {
        let functions = Server::connect(url, TAG).await?.load(library()).await?;
        Ok(Self { functions, bytes: BYTES })
    }

    pub(super) fn server(&self) -> &Server {
        self.functions.store()
    }

    /// Payloads of stored tasks, in order; nothing for those that are gone or damaged.
    pub(super) async fn payloads(&self, wanted: &[Row]) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        let found = self.rows(wanted, rows::tasks).await?;
        let payload = |(row, bytes): (&Row, Option<Vec<u8>>)| Some(unpack_task(*row, &bytes?).ok()?.1.into());
        Ok(wanted.iter().zip(found).map(payload).collect())
    }

    /// Checkpoints of stored tasks, in order.
    pub(super) async fn checkpoints(&self, wanted: &[Row]) -> Result<Vec<Option<Arc<[u8]>>>, Error> {
        let found = self.rows(wanted, rows::checkpoints).await?;
        Ok(found.into_iter().map(|bytes| bytes.map(Arc::from)).collect())
    }

    /// Endings of tasks with their results, in order.
    pub(super) async fn whole_endings(&self, wanted: &[Row]) -> Result<Vec<Option<Ending>>, Error> {
        let found = self.rows(wanted, rows::endings).await?;
        let ending = |bytes: Option<Vec<u8>>| Ok(bytes.map(|bytes| unpack_ending(&bytes)).transpose()?);
        found.into_iter().map(ending).collect()
    }

    /// Whole rows: the caller knows that they are not too many bytes.
    async fn rows(&self, wanted: &[Row], key: fn(u64) -> Vec<u8>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut pipe = ::redis::pipe();
        for row in wanted {
            pipe.cmd("HGET").arg(key(bucket_of(*row))).arg(*row);
        }
        self.pipe(&pipe).await
    }

    async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<Vec<T>, Error> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Value> = pipe.query_async(&mut self.server().connection()).await?;
        values.into_iter().map(|value| Ok(T::from_redis_value(value)?)).collect()
    }

    /// A stored task with its payload.
    async fn stored(&self, row: Row) -> Result<Option<(Enqueued, Arc<[u8]>)>, Error> {
        let Some(bytes) = self.rows(&[row], rows::tasks).await?.pop().flatten() else { return Ok(None) };
        let (task, payload) = unpack_task(row, &bytes)?;
        Ok(Some((task, payload.into())))
    }

    /// The last bucket that may hold a row before this one.
    async fn bucket_before(&self, row: Row) -> Result<Option<u64>, Error> {
        let Some(last) = row.checked_sub(1) else { return Ok(None) };
        let mut range = ::redis::cmd("ZRANGE");
        range.arg(rows::buckets()).arg(bucket_of(last)).arg("-inf").arg("BYSCORE").arg("REV");
        range.arg("LIMIT").arg(0).arg(1);
        Ok(self.server().query::<Vec<u64>>(&range).await?.pop())
    }

    /// Some tasks out of rows of one bucket, in their order; none when none of them is there.
    async fn some_of(&self, mut wanted: &[Row]) -> Result<Vec<Enqueued>, Error> {
        while !wanted.is_empty() {
            let heads = self.first_heads(Part::Task, wanted).await?;
            let (done, rest) = wanted.split_at(heads.len().min(wanted.len()));
            let there = done.iter().zip(&heads).filter_map(|(row, head)| Some((*row, head.as_ref()?)));
            let page: Vec<_> = there.map(|(row, head)| head.task(row)).collect::<Result<_, Damaged>>()?;
            if !page.is_empty() {
                return Ok(page);
            }
            wanted = rest;
        }
        Ok(Vec::new())
    }
}

#[async_trait]
impl Reader for RedisReader {
    async fn before(&self, row: Row) -> Result<Vec<Enqueued>, Error> {
        let mut bound = row;
        while let Some(bucket) = self.bucket_before(bound).await? {
            let first = bucket * BUCKET;
            let wanted: Vec<Row> = (first..bound.min(first + BUCKET)).rev().collect();
            let page = self.some_of(&wanted).await?;
            if !page.is_empty() {
                return Ok(page);
            }
            bound = first;
        }
        Ok(Vec::new())
    }

    async fn endings(&self, tasks: Vec<Enqueued>) -> Result<Vec<Option<Task>>, Error> {
        let found = self.heads(Part::Ending, tasks.iter().map(|task| task.row).collect()).await?;
        let ended = |task: Enqueued| {
            let ending = head_of(&found, task.row).map(rows::Head::ending).transpose()?;
            Ok(ending.map(|(ending, _)| task.ended(ending.record)))
        };
        tasks.into_iter().map(ended).collect()
    }

    async fn ended(&self, id: Uuid) -> Result<Option<Task>, Error> {
        let stored = self.stored(row_of(id)).await?.filter(|(task, _)| task.id == id);
        let Some((task, payload)) = stored else { return Ok(None) };
        let ending = self.whole_endings(&[task.row]).await?.pop().flatten();
        Ok(ending.map(|ending| Task { payload: Some(payload), ..task.ended(ending.record) }))
    }

    async fn payload(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        let stored = self.stored(row_of(id)).await?;
        Ok(stored.filter(|(task, _)| task.id == id).map(|(_, payload)| payload))
    }

    async fn checkpoint(&self, id: Uuid) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(self.checkpoints(&[row_of(id)]).await?.pop().flatten())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error> {
        self.some_events(after, limit).await
    }
}
