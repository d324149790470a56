//! Forgets runs that ended long ago, with all that was kept of them. A run goes in one commit, which leaves a mark until
//! the log, that no commit can hold, is gone too: killed in between, the next pass goes on.

use std::time::Duration;

use nova_storage::{Commit, Range};
use nova_types::{Namespace, RunId, Timestamp};

use super::store::{Head, Runs, head_key, log_prefix, receipt_key, report_key};
use crate::error::Error;
use crate::records::{PAGE_BYTES, decode};
use crate::session::Sessions;

/// Runs that one pass forgets at most.
const RUNS: usize = 1_000;
/// Entries of a log that go together.
const ENTRIES: usize = 500;
/// Where the marks of half-forgotten runs lie.
const HALF: &str = "run-forgotten/";

/// What is kept of what has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// This many runs.
    pub runs: usize,
    /// For this long.
    pub time: Duration,
}

/// One pass: forgets the runs that are too many or too old, with their sessions, and old sessions of no run. Says how
/// many runs and sessions it forgot.
pub async fn forget_ended(runs: &Runs, sessions: &Sessions, keep: Keep) -> Result<usize, Error> {
    let limit = runs.clock().now() - keep.time;
    runs.forget_half_forgotten().await?;
    let outdated = runs.outdated(keep.runs, limit).await?;
    let mut forgotten = 0;
    for (namespace, run_id) in outdated {
        forgotten += 1 + sessions.forget_of_run(&namespace, run_id).await?;
        runs.forget(&namespace, run_id).await?;
    }
    Ok(forgotten + sessions.forget_ended_before(limit).await?)
}

impl Runs {
    /// Runs that ended before `limit`, or that are more than `most`; those that ended first come first.
    async fn outdated(&self, most: usize, limit: Timestamp) -> Result<Vec<(Namespace, RunId)>, Error> {
        let mut ended = self.ended().await?;
        ended.sort_unstable_by_key(|(end, ..)| *end);
        let too_many = ended.len().saturating_sub(most);
        let too_old = ended.partition_point(|(end, ..)| *end < limit);
        ended.truncate(too_many.max(too_old).min(RUNS));
        Ok(ended.into_iter().map(|(_, namespace, run_id)| (namespace, run_id)).collect())
    }

    async fn ended(&self) -> Result<Vec<(Timestamp, Namespace, RunId)>, Error> {
        let (mut ended, mut after) = (Vec::new(), None);
        loop {
            let (page, next) =
                self.records.page(Range { after, ..Range::prefix("run/").limit(1_000) }).await?;
            for entry in page {
                let head: Head = decode(&entry.key, &entry.value)?;
                ended.extend(head.end_time.map(|end| (end, head.namespace, head.run_id)));
            }
            if next.is_none() {
                return Ok(ended);
            }
            after = next;
        }
    }

    async fn forget(&self, namespace: &Namespace, run_id: RunId) -> Result<(), Error> {
        let (head, version) = self.head(namespace, run_id).await?;
        let key = head_key(namespace, &run_id);
        let mut commit = Commit::new().check(&key, Some(version)).delete(&key).delete(report_key(&run_id));
        if let Some(request_id) = &head.request_id {
            commit = commit.delete(receipt_key(namespace, request_id));
        }
        self.commit(commit.put(half_key(&run_id), Vec::new())).await?;
        self.forget_log(run_id).await
    }

    async fn forget_half_forgotten(&self) -> Result<(), Error> {
        for entry in self.records.kv().scan(HALF).await? {
            self.forget_log(RunId::parse("run_id", entry.key.trim_start_matches(HALF))?).await?;
        }
        Ok(())
    }

    async fn forget_log(&self, run_id: RunId) -> Result<(), Error> {
        let range = Range::prefix(log_prefix(&run_id)).limit(ENTRIES).bytes(PAGE_BYTES);
        loop {
            let page = self.records.kv().range(range.clone()).await?;
            let is_last = !range.goes_on(&page);
            let mut commit = page.into_iter().fold(Commit::new(), |commit, entry| commit.delete(entry.key));
            if is_last {
                commit = commit.delete(half_key(&run_id));
            }
            self.commit(commit).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

fn half_key(run_id: &RunId) -> String {
    format!("{HALF}{run_id}")
}
