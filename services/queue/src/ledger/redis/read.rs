//! Reading the ledger in Redis beside its owner: lists, single rows, old events.

use std::sync::Arc;

use ::redis::{FromRedisValue, Pipeline, Value};
use async_trait::async_trait;
use nova_storage::redis::{Functions, RedisStore as Server, RedisUrl};
use uuid::Uuid;

use super::{
    heads::{BYTES, Part, head_of},
    library,
    rows::{self, Ending, TAG, bucket_of, unpack_ending, unpack_task},
};
use crate::{
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
}

#[async_trait]
impl Reader for RedisReader {
    async fn endings(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Task>>, Error> {
        let wanted: Vec<Row> = ids.iter().map(|id| row_of(*id)).collect();
        let tasks = self.heads(Part::Task, wanted.clone()).await?;
        let endings = self.heads(Part::Ending, wanted).await?;
        let ended = |id: Uuid| {
            let row = row_of(id);
            let (Some(task), Some(ending)) = (head_of(&tasks, row), head_of(&endings, row)) else {
                return Ok(None);
            };
            let (task, (ending, _)) = (task.task(row)?, ending.ending()?);
            Ok((task.id == id).then(|| task.ended(ending.record)))
        };
        ids.into_iter().map(ended).collect()
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
