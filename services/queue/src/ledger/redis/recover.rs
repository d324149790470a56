//! Building memory from Redis, for a new owner: a bucket at a time, without payloads and results. Redis reads the next one
//! while memory takes in the last.
//!
//! Between the buckets the claim is renewed, so that nobody else leads however long all of it takes.

use std::{collections::BTreeMap, pin::pin};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    RedisLedger,
    heads::{Part, behind, field, head_of, number},
    read::RedisReader,
    rows::{self, BUCKET, Ending, Head},
};
use crate::{
    core::{
        Core,
        entry::Row,
        restore::{Counters, KeptEnding, KeptTask},
    },
    error::Error,
    ledger::{Ledger as _, unpack_changes},
    task::Micros,
};

/// About how many settings one read takes, of at most some 20 KiB each.
const SETTINGS: usize = 64;

/// Buckets that are read at once.
const AHEAD: usize = 2;

/// Tasks that are put in their places at once.
const STEP: usize = 4_096;

impl RedisLedger {
    /// Fills an empty core with all that is there.
    pub(super) async fn restore(&mut self, core: &mut Core) -> Result<Counters, Error> {
        for (key, value) in self.reader.settings().await? {
            core.restore_fact(&key, &value)?;
        }
        let reader = self.reader.clone();
        let buckets = stream::iter(reader.buckets().await?).map(|bucket| reader.bucket(bucket));
        let mut buckets = pin!(buckets.buffered(AHEAD));
        while let Some(bucket) = buckets.try_next().await? {
            self.restore_bucket(core, &bucket)?;
            self.keep().await?;
        }
        let mut counters = self.restore_journal(core).await?;
        counters.floor = self.reader.floor().await?;
        Ok(counters)
    }

    /// Puts everything where it will be found.
    pub(super) async fn place(
        &mut self,
        core: &mut Core,
        counters: Counters,
        now: Micros,
    ) -> Result<(), Error> {
        let mut rows = core.restore_counters(counters, now);
        while core.restore_places(rows.by_ref().take(STEP), now) {
            self.keep().await?;
        }
        core.restore_rest(now);
        Ok(())
    }

    fn restore_bucket(&mut self, core: &mut Core, bucket: &Bucket) -> Result<(), Error> {
        for (row, head) in &bucket.tasks {
            self.writer.buckets.add(*row);
            let ending = head_of(&bucket.endings, *row).map(Head::ending).transpose()?;
            core.restore_task(kept(*row, head)?, ending.map(|(ending, len)| kept_ending(&ending, len)))?;
        }
        Ok(())
    }

    async fn restore_journal(&mut self, core: &mut Core) -> Result<Counters, Error> {
        let (mut counters, mut from) = (Counters::default(), String::from("-"));
        loop {
            let entries = self.reader.journal(&from).await?;
            let Some(last) = entries.last() else { return Ok(counters) };
            from = behind(last);
            for (first, entry) in entries {
                let changes = unpack_changes(field(&entry, "x")?)?;
                counters.last_entry = first + changes.len() as u64 - 1;
                counters.last_token = number(&entry, "t")?;
                counters.last_row = number(&entry, "r")?;
                core.restore_journal(first, changes);
            }
            self.keep().await?;
        }
    }
}

/// What there is of a bucket, rows ascending.
struct Bucket {
    tasks: Vec<(Row, Head)>,
    endings: Vec<(Row, Head)>,
}

fn kept(row: Row, head: &Head) -> Result<KeptTask, Error> {
    let task = head.task(row)?;
    Ok(KeptTask {
        row,
        id: task.id,
        spec: std::sync::Arc::unwrap_or_clone(task.spec),
        payload_len: task.payload_len,
        created: task.created,
        ready_at: task.ready_at,
    })
}

fn kept_ending(ending: &Ending, result_len: u32) -> KeptEnding {
    let (state, at) = (ending.record.state, ending.record.at);
    KeptEnding { state, token: ending.token, journal: ending.journal, at, result_len }
}

impl RedisReader {
    /// What operators have set.
    async fn settings(&self) -> Result<BTreeMap<String, String>, Error> {
        let (mut all, mut cursor) = (BTreeMap::new(), 0);
        loop {
            let mut scan = ::redis::cmd("HSCAN");
            scan.arg(rows::settings()).arg(cursor).arg("COUNT").arg(SETTINGS);
            let (next, page): (u64, Vec<(String, String)>) = self.server().query(&scan).await?;
            all.extend(page);
            if next == 0 {
                return Ok(all);
            }
            cursor = next;
        }
    }

    /// The buckets there are, ascending.
    async fn buckets(&self) -> Result<Vec<u64>, Error> {
        let mut range = ::redis::cmd("ZRANGE");
        range.arg(rows::buckets()).arg(0).arg(-1);
        Ok(self.server().query(&range).await?)
    }

    async fn bucket(&self, bucket: u64) -> Result<Bucket, Error> {
        let all = (bucket * BUCKET..(bucket + 1) * BUCKET).collect();
        let tasks = self.heads(Part::Task, all).await?;
        // Few of a backlog have ended.
        let mut ended = ::redis::cmd("HKEYS");
        ended.arg(rows::endings(bucket));
        let endings = self.heads(Part::Ending, self.server().query(&ended).await?).await?;
        Ok(Bucket { tasks, endings })
    }

    async fn floor(&self) -> Result<u64, Error> {
        let mut get = ::redis::cmd("HGET");
        get.arg(rows::facts()).arg("floor");
        Ok(self.server().query::<Option<u64>>(&get).await?.unwrap_or(0))
    }
}
