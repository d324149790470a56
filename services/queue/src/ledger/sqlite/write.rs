//! Writing: one transaction for each batch, synced before it returns.

use rusqlite::{Connection, Statement, params};

use crate::{
    codec::{pack_changes, pack_spec},
    core::{
        batch::{Batch, Finished, Insert},
        entry::Row,
    },
    error::Error,
    ledger::packed_trail,
};

/// The statements of the write path, prepared once.
#[derive(Debug)]
pub(super) struct Writer<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    insert: Statement<'c>,
    journal: Statement<'c>,
    finish: Statement<'c>,
    drop_journal: Statement<'c>,
    drop_tasks: Statement<'c>,
    drop_finished: Statement<'c>,
    checkpoint: Statement<'c>,
    drop_checkpoint: Statement<'c>,
    set_fact: Statement<'c>,
    unset_fact: Statement<'c>,
    floor: Statement<'c>,
    last_row: Row,
    floored: u64,
}

impl<'c> Writer<'c> {
    /// Prepares the statements.
    ///
    /// # Errors
    /// The file is not ours.
    pub(super) fn new(connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
            insert: connection.prepare("INSERT INTO task VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?,
            journal: connection.prepare("INSERT INTO journal VALUES (?1, ?2, ?3, ?4, ?5)")?,
            finish: connection
                .prepare("INSERT INTO finished VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?,
            drop_journal: connection.prepare("DELETE FROM journal WHERE first <= ?1")?,
            drop_tasks: connection.prepare("DELETE FROM task WHERE row BETWEEN ?1 AND ?2")?,
            drop_finished: connection.prepare("DELETE FROM finished WHERE row BETWEEN ?1 AND ?2")?,
            checkpoint: connection.prepare("INSERT OR REPLACE INTO checkpoint VALUES (?1, ?2)")?,
            drop_checkpoint: connection.prepare("DELETE FROM checkpoint WHERE row = ?1")?,
            set_fact: connection.prepare("INSERT OR REPLACE INTO fact VALUES (?1, ?2)")?,
            unset_fact: connection.prepare("DELETE FROM fact WHERE key = ?1")?,
            floor: connection.prepare("INSERT OR REPLACE INTO meta VALUES ('floor', ?1)")?,
            last_row: 0,
            floored: 0,
        })
    }

    /// Commits a batch and syncs it.
    ///
    /// # Errors
    /// The store failed: nothing of the batch is there.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        self.begin.execute([])?;
        let written = self.write_all(batch).and_then(|()| Ok(self.commit.execute([]).map(drop)?));
        if written.is_err()
            && let Err(rollback) = self.rollback.execute([])
        {
            tracing::warn!(%rollback, "a transaction that failed could not be rolled back");
        }
        written
    }

    fn write_all(&mut self, batch: &Batch) -> Result<(), Error> {
        for insert in &batch.inserts {
            self.insert(insert)?;
        }
        if !batch.changes.is_empty() {
            self.journal(batch)?;
        }
        for row in &batch.revived {
            self.drop_finished.execute([row, row])?;
        }
        for finished in &batch.finished {
            self.finish(finished)?;
        }
        for (row, checkpoint) in &batch.checkpoints {
            match checkpoint {
                Some(bytes) => self.checkpoint.execute(params![row, &**bytes])?,
                None => self.drop_checkpoint.execute([row])?,
            };
        }
        for (key, value) in &batch.facts {
            match value {
                Some(value) => self.set_fact.execute([key, value])?,
                None => self.unset_fact.execute([key])?,
            };
        }
        if let Some(first) = batch.dropped {
            self.drop_journal.execute([first])?;
        }
        for (first, last) in runs(&batch.forgotten) {
            self.drop_tasks.execute([first, last])?;
            self.drop_finished.execute([first, last])?;
        }
        if batch.floor > self.floored {
            self.floor.execute([batch.floor])?;
            self.floored = batch.floor;
        }
        Ok(())
    }

    fn insert(&mut self, task: &Insert) -> Result<(), Error> {
        self.last_row = self.last_row.max(task.row);
        let spec = pack_spec(&task.spec);
        let id = task.id.as_bytes();
        self.insert.execute(params![task.row, id, task.created, task.ready_at, spec, &*task.payload])?;
        Ok(())
    }

    fn journal(&mut self, batch: &Batch) -> Result<(), Error> {
        let packed = pack_changes(&batch.changes);
        let (entries, last_row) = (batch.changes.len(), self.last_row);
        self.journal.execute(params![batch.first, entries, batch.last_token, last_row, packed])?;
        Ok(())
    }

    fn finish(&mut self, ended: &Finished) -> Result<(), Error> {
        let error = ended.error.as_deref();
        self.finish.execute(params![
            ended.row,
            ended.id.as_bytes(),
            ended.state.code(),
            ended.token,
            ended.attempts,
            ended.journal,
            ended.at,
            ended.result.as_deref(),
            error.map(|error| &*error.reason),
            error.map(|error| &*error.message),
            ended.trail.as_deref().map(packed_trail),
        ])?;
        Ok(())
    }

    /// Says what the file already holds.
    pub(super) fn start_from(&mut self, last_row: Row, floor: u64) {
        self.last_row = last_row;
        self.floored = floor;
    }
}

/// Ascending rows as runs of neighbours, so that they go by range.
fn runs(rows: &[Row]) -> Vec<(Row, Row)> {
    let mut runs: Vec<(Row, Row)> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *row => *last = *row,
            _ => runs.push((*row, *row)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_go_together() {
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
    }
}
