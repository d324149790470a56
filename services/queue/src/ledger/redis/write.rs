//! A batch as commands that Redis applies together.

use std::collections::HashMap;

use super::rows::{self, bucket_of};
use crate::{
    codec::pack_changes,
    core::{batch::Batch, entry::Row},
};

/// Most words of one command; Lua's `unpack` ends at 7,990.
const WORDS: usize = 4_096;

/// Commands with their words, as `ledger.lua` takes them.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// Every key that they touch.
    pub(super) keys: Vec<Vec<u8>>,
    /// For each command: the number of its words, then the words.
    pub(super) words: Vec<Vec<u8>>,
}

impl Commands {
    /// A command on one key, in as many parts as its words need; `step` words belong together.
    fn push(&mut self, name: &str, key: Vec<u8>, words: Vec<Vec<u8>>, step: usize) {
        let most = WORDS / step * step;
        let mut words = words.into_iter().peekable();
        while words.peek().is_some() {
            let part: Vec<_> = words.by_ref().take(most).collect();
            self.words.push(text(part.len() + 2));
            self.words.push(name.as_bytes().to_vec());
            self.words.push(key.clone());
            self.words.extend(part);
        }
        self.keys.push(key);
    }
}

/// Decimal text of a number.
pub(super) fn text(number: impl std::fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What the writer knows of the buckets there are: how many tasks each holds.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<u64, u32>);

impl Buckets {
    /// A stored task; true when it is the first of its bucket.
    pub(super) fn add(&mut self, row: Row) -> bool {
        let held = self.0.entry(bucket_of(row)).or_default();
        *held += 1;
        *held == 1
    }

    /// A task that is forgotten; true when it was the last of its bucket.
    fn remove(&mut self, row: Row) -> bool {
        let bucket = bucket_of(row);
        let Some(held) = self.0.get_mut(&bucket) else { return false };
        *held -= 1;
        let last = *held == 0;
        if last {
            self.0.remove(&bucket);
        }
        last
    }
}

/// Turns batches into commands.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The buckets there are.
    pub(super) buckets: Buckets,
    last_row: Row,
    floored: u64,
}

impl Writer {
    /// Says what the ledger already holds.
    pub(super) fn start_from(&mut self, last_row: Row, floor: u64) {
        self.last_row = last_row;
        self.floored = floor;
    }

    /// The commands of a batch.
    pub(super) fn commands(&mut self, batch: &Batch) -> Commands {
        let mut commands = Commands::default();
        self.insert(batch, &mut commands);
        revive(batch, &mut commands);
        self.finish(batch, &mut commands);
        self.journal(batch, &mut commands);
        checkpoint(batch, &mut commands);
        self.forget(&batch.forgotten, &mut commands);
        set(batch, &mut commands);
        if batch.floor > self.floored {
            self.floored = batch.floor;
            commands.push("HSET", rows::facts(), vec![b"floor".to_vec(), text(batch.floor)], 2);
        }
        commands
    }

    fn insert(&mut self, batch: &Batch, commands: &mut Commands) {
        let mut made = Vec::new();
        for same in batch.inserts.chunk_by(|left, right| bucket_of(left.row) == bucket_of(right.row)) {
            let bucket = bucket_of(same[0].row);
            let mut fields = Vec::with_capacity(2 * same.len());
            for task in same {
                self.last_row = self.last_row.max(task.row);
                if self.buckets.add(task.row) {
                    made.extend([text(bucket), text(bucket)]);
                }
                fields.extend([text(task.row), rows::pack_task(task)]);
            }
            commands.push("HSET", rows::tasks(bucket), fields, 2);
        }
        commands.push("ZADD", rows::buckets(), made, 2);
    }

    fn finish(&self, batch: &Batch, commands: &mut Commands) {
        let mut by_bucket: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
        for ended in &batch.finished {
            let fields = by_bucket.entry(bucket_of(ended.row)).or_default();
            fields.extend([text(ended.row), rows::pack_ending(ended)]);
        }
        for (bucket, fields) in by_bucket {
            commands.push("HSET", rows::endings(bucket), fields, 2);
        }
    }

    fn journal(&self, batch: &Batch, commands: &mut Commands) {
        if !batch.changes.is_empty() {
            let facts = [batch.changes.len() as u64, batch.last_token, self.last_row].map(text);
            let [entries, last_token, last_row] = facts;
            let mut words = vec![text(format_args!("{}-0", batch.first))];
            for (name, value) in [("n", entries), ("t", last_token), ("r", last_row)] {
                words.extend([name.as_bytes().to_vec(), value]);
            }
            words.extend([b"x".to_vec(), pack_changes(&batch.changes)]);
            commands.push("XADD", rows::journal(), words, 1);
        }
        if let Some(first) = batch.dropped {
            let from = text(format_args!("{}-0", first + 1));
            commands.push("XTRIM", rows::journal(), vec![b"MINID".to_vec(), from], 2);
        }
    }

    fn forget(&mut self, forgotten: &[Row], commands: &mut Commands) {
        let mut emptied = Vec::new();
        for same in forgotten.chunk_by(|left, right| bucket_of(*left) == bucket_of(*right)) {
            let bucket = bucket_of(same[0]);
            let fields: Vec<_> = same.iter().map(text).collect();
            for row in same {
                if self.buckets.remove(*row) {
                    emptied.push(text(bucket));
                }
            }
            commands.push("HDEL", rows::tasks(bucket), fields.clone(), 1);
            commands.push("HDEL", rows::endings(bucket), fields, 1);
        }
        commands.push("ZREM", rows::buckets(), emptied, 1);
    }
}

/// Dead tasks that live again have not ended.
fn revive(batch: &Batch, commands: &mut Commands) {
    for row in &batch.revived {
        commands.push("HDEL", rows::endings(bucket_of(*row)), vec![text(row)], 1);
    }
}

/// What attempts left for the next one.
fn checkpoint(batch: &Batch, commands: &mut Commands) {
    for (row, checkpoint) in &batch.checkpoints {
        let key = rows::checkpoints(bucket_of(*row));
        match checkpoint {
            Some(bytes) => commands.push("HSET", key, vec![text(row), bytes.to_vec()], 2),
            None => commands.push("HDEL", key, vec![text(row)], 1),
        }
    }
}

/// What operators have set.
fn set(batch: &Batch, commands: &mut Commands) {
    for (key, value) in &batch.facts {
        let key = key.as_bytes().to_vec();
        match value {
            Some(value) => commands.push("HSET", rows::settings(), vec![key, value.as_bytes().to_vec()], 2),
            None => commands.push("HDEL", rows::settings(), vec![key], 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_goes_with_its_last_task() {
        let mut buckets = Buckets::default();
        assert_eq!([buckets.add(5), buckets.add(6)], [true, false]);
        assert_eq!([buckets.remove(5), buckets.remove(6)], [false, true]);
    }

    #[test]
    fn a_long_command_is_parted_between_its_pairs() {
        let mut commands = Commands::default();
        commands.push("HSET", b"k".to_vec(), vec![vec![0]; WORDS + 2], 2);
        assert_eq!(commands.words[0], text(WORDS + 2));
        assert_eq!(commands.words[WORDS + 3], text(4));
    }
}
