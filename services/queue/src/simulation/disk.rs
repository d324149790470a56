//! What a ledger in memory holds: the same rows as the real ones.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::broken::Broken;
use crate::{
    codec::{Stored, pack_changes, pack_spec, unpack_spec},
    core::{
        Core, Limits,
        batch::Batch,
        entry::{Row, row_of},
        restore::{Counters, KeptEnding, KeptTask},
    },
    ledger::{EndRecord, Enqueued, unpack_changes},
    record::Task,
    task::{Micros, State},
};

#[derive(Debug, Clone)]
struct TaskRow {
    id: Uuid,
    spec: Vec<u8>,
    payload: Arc<[u8]>,
    created: Micros,
    ready_at: Micros,
}

#[derive(Debug, Clone)]
struct EndRow {
    id: Uuid,
    token: u64,
    journal: u64,
    record: EndRecord,
}

/// Rows by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    tasks: BTreeMap<Row, TaskRow>,
    journal: BTreeMap<u64, Vec<u8>>,
    ended: BTreeMap<Row, EndRow>,
    facts: BTreeMap<String, String>,
    checkpoints: BTreeMap<Row, Arc<[u8]>>,
    counters: Counters,
}

impl Disk {
    pub(super) fn write(&mut self, batch: &Batch, broken: Option<Broken>) {
        self.write_tasks(batch);
        self.write_changes(batch);
        self.write_facts(batch, broken);
    }

    fn write_tasks(&mut self, batch: &Batch) {
        for task in &batch.inserts {
            let row = TaskRow {
                id: task.id,
                spec: pack_spec(&task.spec),
                payload: Arc::clone(&task.payload),
                created: task.created,
                ready_at: task.ready_at,
            };
            self.tasks.insert(task.row, row);
            self.counters.last_row = self.counters.last_row.max(task.row);
        }
        for ended in &batch.finished {
            let record = EndRecord {
                state: ended.state,
                attempts: ended.attempts,
                at: ended.at,
                result: ended.result.clone(),
                error: ended.error.as_deref().cloned(),
                trail: ended.trail.as_deref().cloned(),
            };
            let row = EndRow { id: ended.id, token: ended.token, journal: ended.journal, record };
            self.ended.insert(ended.row, row);
        }
    }

    /// A commit without its new and its ended tasks, and what stands under a key.
    pub(super) fn write_changes(&mut self, batch: &Batch) {
        if !batch.changes.is_empty() {
            self.journal.insert(batch.first, pack_changes(&batch.changes));
            self.counters.last_entry = batch.first + batch.changes.len() as u64 - 1;
            self.counters.last_token = batch.last_token;
        }
        if let Some(first) = batch.dropped {
            self.journal.retain(|row, _| *row > first);
        }
        for row in &batch.forgotten {
            self.tasks.remove(row);
            self.ended.remove(row);
        }
        for row in &batch.revived {
            self.ended.remove(row);
        }
        self.counters.floor = batch.floor;
    }

    fn write_facts(&mut self, batch: &Batch, broken: Option<Broken>) {
        for (row, checkpoint) in &batch.checkpoints {
            match checkpoint {
                Some(_) if broken == Some(Broken::LosesCheckpoints) => {}
                Some(bytes) => drop(self.checkpoints.insert(*row, Arc::clone(bytes))),
                None => drop(self.checkpoints.remove(row)),
            }
        }
        for (key, value) in &batch.facts {
            let stays = broken == Some(Broken::FiresTwice) && key.starts_with("schedule/");
            match value {
                Some(_) if stays && self.facts.contains_key(key) => {}
                Some(value) => drop(self.facts.insert(key.clone(), value.clone())),
                None => drop(self.facts.remove(key)),
            }
        }
    }

    /// Greatest token that was given.
    pub(super) fn last_token(&self) -> u64 {
        self.counters.last_token
    }

    /// Memory as it follows from the rows.
    pub(super) fn read(&self, limits: Limits, noise: u64, now: Micros, broken: Option<Broken>) -> Core {
        let mut core = Core::new(limits, noise);
        for (row, kept) in &self.tasks {
            let ending = self.ended.get(row).map(EndRow::kept);
            core.restore_task(kept.restored(*row, broken), ending).unwrap();
        }
        for (first, packed) in &self.journal {
            let changes = unpack_changes(packed).unwrap();
            core.restore_journal(*first, changes.into_iter().map(|change| spoiled(change, broken)).collect());
        }
        for (key, value) in &self.facts {
            core.restore_fact(key, value).unwrap();
        }
        let mut counters = self.counters;
        if broken == Some(Broken::ForgetsTokens) {
            counters.last_token = 0;
        }
        core.restored(counters, now);
        core
    }

    pub(super) fn payload(&self, row: Row) -> Option<Arc<[u8]>> {
        self.tasks.get(&row).map(|task| Arc::clone(&task.payload))
    }

    pub(super) fn checkpoint(&self, row: Row) -> Option<Arc<[u8]>> {
        self.checkpoints.get(&row).map(Arc::clone)
    }

    /// An ended task.
    pub(super) fn ended(&self, id: Uuid) -> Option<Task> {
        let row = row_of(id);
        let end = self.ended.get(&row).filter(|ended| ended.id == id)?;
        Some(self.tasks.get(&row)?.enqueued(row).ended(end.record.clone()))
    }
}

impl TaskRow {
    fn enqueued(&self, row: Row) -> Enqueued {
        let spec = Arc::new(unpack_spec(&self.spec).unwrap());
        let payload_len = u32::try_from(self.payload.len()).unwrap();
        Enqueued { id: self.id, row, spec, created: self.created, ready_at: self.ready_at, payload_len }
    }

    fn restored(&self, row: Row, broken: Option<Broken>) -> KeptTask {
        let mut spec = unpack_spec(&self.spec).unwrap();
        if broken == Some(Broken::ForgetsKeys) {
            spec.request_id = "".into();
        }
        if let Some(terms) = &mut spec.terms {
            match broken {
                Some(Broken::ForgetsUniqueKeys) => terms.unique_key = "".into(),
                Some(Broken::ForgetsDeadlines) => terms.deadline = None,
                _ => {}
            }
        }
        let ready_at = if broken == Some(Broken::ForgetsDelays) { self.created } else { self.ready_at };
        let payload_len = u32::try_from(self.payload.len()).unwrap();
        KeptTask { row, id: self.id, spec, payload_len, created: self.created, ready_at }
    }
}

impl EndRow {
    fn kept(&self) -> KeptEnding {
        let result_len = self.record.result.as_ref().map_or(0, |result| result.len());
        let result_len = u32::try_from(result_len).unwrap();
        let (state, at) = (self.record.state, self.record.at);
        KeptEnding { state, token: self.token, journal: self.journal, at, result_len }
    }
}

/// A change as a broken queue reads it.
fn spoiled(mut change: Stored, broken: Option<Broken>) -> Stored {
    let status = &mut change.status;
    match broken {
        Some(Broken::ForgetsAttempts) => status.attempts = 0,
        Some(Broken::ForgetsDeadlines) => status.deadline = 0,
        Some(Broken::ForgetsLeases) if status.state == State::Leased => {
            status.state = State::Ready;
            change.hold = None;
        }
        Some(Broken::ForgetsDelays) if status.state == State::Waiting => {
            status.state = State::Ready;
            status.ready_at = status.created;
        }
        _ => {}
    }
    change
}
