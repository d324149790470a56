//! Ended tasks as lists show them. Redis gives rows whole, with payloads and results: so only as many are asked for at
//! once as take little memory.

use std::ops::Range;

use uuid::Uuid;

use super::{
    read::RedisReader,
    rows::{self, bucket_of, unpack_ending, unpack_task},
};
use crate::{
    core::entry::{Row, row_of},
    error::Error,
    ledger::EndRecord,
    record::Task,
};

/// Bytes of rows that are read at once, unless one has more.
const BYTES: usize = 4 << 20;

impl RedisReader {
    /// Ended tasks without payloads and results, in order; nothing for those that are not there, or live.
    pub(super) async fn listed(&self, ids: &[Uuid]) -> Result<Vec<Option<Task>>, Error> {
        let wanted: Vec<Row> = ids.iter().map(|id| row_of(*id)).collect();
        let mut found = Vec::with_capacity(ids.len());
        for part in parts(&self.sizes(&wanted).await?, BYTES) {
            let tasks = self.rows(&wanted[part.clone()], rows::tasks).await?;
            let endings = self.rows(&wanted[part.clone()], rows::endings).await?;
            for (id, rows) in ids[part].iter().zip(tasks.into_iter().zip(endings)) {
                found.push(listed(*id, rows)?);
            }
        }
        Ok(found)
    }

    /// Bytes of tasks and their endings.
    async fn sizes(&self, wanted: &[Row]) -> Result<Vec<usize>, Error> {
        let mut pipe = ::redis::pipe();
        for row in wanted {
            pipe.cmd("HSTRLEN").arg(rows::tasks(bucket_of(*row))).arg(*row);
            pipe.cmd("HSTRLEN").arg(rows::endings(bucket_of(*row))).arg(*row);
        }
        let sizes: Vec<usize> = self.pipe(&pipe).await?;
        Ok(sizes.chunks(2).map(|both| both.iter().sum()).collect())
    }
}

/// A task and its ending, if both are there.
fn listed(id: Uuid, rows: (Option<Vec<u8>>, Option<Vec<u8>>)) -> Result<Option<Task>, Error> {
    let (Some(task), Some(ending)) = rows else { return Ok(None) };
    let (task, _) = unpack_task(row_of(id), &task)?;
    let end = EndRecord { result: None, ..unpack_ending(&ending)?.record };
    Ok((task.id == id).then(|| task.ended(end)))
}

/// Neighbours that have at most so many bytes together, or one alone that has more.
fn parts(sizes: &[usize], most: usize) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, size) in sizes.iter().enumerate() {
        bytes += size;
        match parts.last_mut() {
            Some(part) if bytes <= most => part.end = at + 1,
            _ => {
                parts.push(at..at + 1);
                bytes = *size;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_once_is_bounded_by_its_bytes() {
        assert_eq!(parts(&[3, 3, 4, 1, 12, 2, 0], 10), [0..3, 3..4, 4..5, 5..7]);
        assert!(parts(&[], 10).is_empty());
    }
}
