//! Reads the logs of runs, a page after another: memory holds one page, and of the steps' results, which may be as large
//! as all of memory together, only those that are wanted.

use nova_storage::Range;
use nova_types::{RunId, StepId};
use serde_json::Value;

use super::event::{Entry, Event};
use super::state::State;
use super::store::{Runs, entry_key, log_prefix};
use crate::error::Error;
use crate::records::{PAGE_BYTES, decode};

/// A part of a run's log.
#[derive(Debug)]
pub struct LogPage {
    /// Entries, in order.
    pub entries: Vec<Entry>,
    /// Whether there may be more behind them.
    pub more: bool,
}

impl Runs {
    /// Entries of a run's log after a sequence number, without the results of steps.
    pub async fn log(&self, run_id: RunId, after: u64) -> Result<LogPage, Error> {
        self.page(run_id, after, &|_, _| false).await
    }

    /// What a run's whole log adds up to, in as much memory as all its results take.
    pub async fn state(&self, run_id: RunId) -> Result<State, Error> {
        self.state_with(run_id, |_, _| true).await
    }

    /// The same without the results of its steps.
    pub async fn outline(&self, run_id: RunId) -> Result<State, Error> {
        self.state_with(run_id, |_, _| false).await
    }

    /// The same with those results alone that are `wanted`; the others are null.
    pub async fn state_with(
        &self,
        run_id: RunId,
        wanted: impl Fn(&StepId, &Value) -> bool + Sync,
    ) -> Result<State, Error> {
        let damaged = |source| Error::DamagedLog { run: run_id, source };
        let mut page = self.page(run_id, 0, &wanted).await?;
        let mut state = State::fold(&page.entries).map_err(damaged)?;
        while page.more {
            page = self.page(run_id, state.sequence, &wanted).await?;
            page.entries.iter().try_for_each(|entry| state.apply(entry)).map_err(damaged)?;
        }
        Ok(state)
    }

    async fn page(
        &self,
        run_id: RunId,
        after: u64,
        wanted: &(impl Fn(&StepId, &Value) -> bool + Sync),
    ) -> Result<LogPage, Error> {
        let range = Range::prefix(log_prefix(&run_id)).after(entry_key(&run_id, after));
        let range = range.limit(1_000).bytes(PAGE_BYTES);
        let found = self.records.kv().range(range.clone()).await?;
        let more = range.goes_on(&found);
        let entry = |found: nova_storage::Entry| {
            let mut entry: Entry = decode(&found.key, &found.value)?;
            leave_out(&mut entry.event, wanted);
            Ok(entry)
        };
        Ok(LogPage { entries: found.into_iter().map(entry).collect::<Result<_, Error>>()?, more })
    }
}

fn leave_out(event: &mut Event, wanted: &impl Fn(&StepId, &Value) -> bool) {
    if let Event::StepSucceeded { step, result } = event
        && !wanted(step, result)
    {
        *result = Value::Null;
    }
}
