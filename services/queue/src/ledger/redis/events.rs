//! Old events out of the journal in Redis.

use std::collections::HashMap;

use super::{
    heads::{Answered, Entry, Part, behind, field, head_of},
    read::RedisReader,
    rows::{self, Head},
};
use crate::{
    codec::Stored,
    core::entry::Row,
    error::Error,
    ledger::unpack_changes,
    record::{Cursor, Task, TaskEvent},
    task::State,
};

/// A change that watchers see, with its number.
type Shown = (u64, Stored);

impl RedisReader {
    /// Events after a journal entry, oldest first: about `limit` of them, and fewer when their results are long.
    pub(super) async fn some_events(&self, after: u64, limit: usize) -> Result<Vec<TaskEvent>, Error> {
        let (mut events, mut room) = (Vec::new(), self.bytes);
        let mut from = self.entry_of(after + 1).await?;
        loop {
            let entries = self.journal(&from).await?;
            let Some(last) = entries.last() else { return Ok(events) };
            from = behind(last);
            for entry in &entries {
                let mut shown = shown(entry, after)?;
                let all = shown.len();
                shown.truncate(limit - events.len());
                let more = self.events_of(shown, &mut room).await?;
                let cut_short = more.len() < all;
                events.extend(more);
                if cut_short || events.len() >= limit {
                    return Ok(events);
                }
            }
        }
    }

    /// The journal entry that holds a change, as a place to range from.
    async fn entry_of(&self, number: u64) -> Result<String, Error> {
        let mut range = ::redis::cmd("XREVRANGE");
        range.arg(rows::journal()).arg(format!("{number}-0")).arg("-").arg("COUNT").arg(1);
        let found: Vec<Answered> = self.server().query(&range).await?;
        Ok(found.into_iter().next().map_or_else(|| "-".into(), |(place, _)| place))
    }

    /// The first of these events, whose results fit into what room is left; takes that room. All of it is room for any
    /// result.
    async fn events_of(&self, mut shown: Vec<Shown>, room: &mut usize) -> Result<Vec<TaskEvent>, Error> {
        let rows: Vec<Row> = shown.iter().map(|(_, change)| change.row).collect();
        let tasks = self.heads(Part::Task, rows).await?;
        let completed = shown.iter().filter(|(_, change)| change.status.state == State::Completed);
        let endings = self.heads(Part::Ending, completed.map(|(_, change)| change.row).collect()).await?;
        let mut wanted = Vec::new();
        for at in 0..shown.len() {
            let Some(len) = result_len(&endings, &shown[at].1)? else { continue };
            if len > *room && *room < self.bytes {
                shown.truncate(at);
                break;
            }
            *room = room.saturating_sub(len);
            wanted.push(shown[at].1.row);
        }
        let found = self.whole_endings(&wanted).await?;
        let results = |(row, ending): (Row, Option<rows::Ending>)| Some((row, ending?.record.result?));
        let mut results: HashMap<Row, _> = wanted.into_iter().zip(found).filter_map(results).collect();
        let event = |(number, change): Shown| {
            let task = head_of(&tasks, change.row).ok_or(Error::CursorExpired)?.task(change.row)?.task();
            let at = change.status.updated;
            let completed = change.status.state == State::Completed;
            let result = if completed { results.remove(&change.row) } else { None };
            let task = Task { status: change.status, result, ..task };
            Ok(TaskEvent { cursor: Cursor(number, 0), at, task })
        };
        shown.into_iter().map(event).collect()
    }
}

/// The changes of a journal entry that watchers see, after a number.
fn shown((first, fields): &Entry, after: u64) -> Result<Vec<Shown>, Error> {
    let changes = unpack_changes(field(fields, "x")?)?;
    let shown = (*first..).zip(changes).filter(|(number, change)| *number > after && change.event);
    Ok(shown.collect())
}

/// Bytes of what a change completed its task with; none when it did not.
fn result_len(endings: &[(Row, Head)], change: &Stored) -> Result<Option<usize>, Error> {
    let ended = head_of(endings, change.row).filter(|_| change.status.state == State::Completed);
    let len = ended.map(|head| Ok::<_, Error>(head.ending()?.1)).transpose()?;
    Ok(len.map(|len| len as usize))
}
