//! Reads of bounded size, by functions that look at so many bytes in one call and leave payloads and results out: Redis
//! does nothing else meanwhile, and the answer has to come in time.

use super::{
    read::RedisReader,
    rows::{self, Head, bucket_of},
    unreadable,
    write::text,
};
use crate::{codec::Damaged, core::entry::Row, error::Error};

/// Most bytes that one read looks at, beside the last few rows of it.
pub(super) const BYTES: usize = 4 << 20;

/// What there is of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// What its producer said.
    Task,
    /// How it ended.
    Ending,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Ending => "ending",
        }
    }

    fn key(self, bucket: u64) -> Vec<u8> {
        match self {
            Self::Task => rows::tasks(bucket),
            Self::Ending => rows::endings(bucket),
        }
    }
}

/// A journal entry as it is answered: its place, and its fields.
pub(super) type Answered = (String, Vec<(String, Vec<u8>)>);

/// A journal entry: number of its first change, and its fields.
pub(super) type Entry = (u64, Vec<(String, Vec<u8>)>);

impl RedisReader {
    /// Heads of the first of these rows of one bucket, at least of one: of as many as a read may look at.
    pub(super) async fn first_heads(&self, part: Part, wanted: &[Row]) -> Result<Vec<Option<Head>>, Error> {
        let Some(first) = wanted.first() else { return Ok(Vec::new()) };
        let mut args = vec![part.name().into(), text(self.bytes)];
        args.extend(wanted.iter().map(text));
        let key = part.key(bucket_of(*first));
        let found: Vec<(usize, Vec<u8>)> = self.functions.call("heads", &[key], &args).await?;
        if found.is_empty() {
            return Err(unreadable());
        }
        let head = |(len, bytes): (usize, Vec<u8>)| (len > 0).then(|| Head::new(len, bytes));
        Ok(found.into_iter().map(head).collect())
    }

    /// Heads of those of these rows that are there, ascending.
    pub(super) async fn heads(&self, part: Part, mut wanted: Vec<Row>) -> Result<Vec<(Row, Head)>, Error> {
        wanted.sort_unstable();
        let mut all = Vec::new();
        for same in wanted.chunk_by(|left, right| bucket_of(*left) == bucket_of(*right)) {
            let mut left = same;
            while !left.is_empty() {
                let heads = self.first_heads(part, left).await?;
                let (done, rest) = left.split_at(heads.len().min(left.len()));
                all.extend(done.iter().zip(heads).filter_map(|(row, head)| Some((*row, head?))));
                left = rest;
            }
        }
        Ok(all)
    }

    /// Journal entries from a place of the stream, oldest first; none when there are no more.
    pub(super) async fn journal(&self, from: &str) -> Result<Vec<Entry>, Error> {
        let args = [from.as_bytes().to_vec(), text(self.bytes)];
        let entries: Vec<Answered> = self.functions.call("journal", &[rows::journal()], &args).await?;
        let entry = |(place, fields): Answered| {
            let first = place.split('-').next().and_then(|first| first.parse().ok()).ok_or(Damaged)?;
            Ok((first, fields))
        };
        entries.into_iter().map(entry).collect()
    }
}

/// The place of the stream behind an entry.
pub(super) fn behind(entry: &Entry) -> String {
    format!("({}-0", entry.0)
}

/// The head of a row, out of those that [`RedisReader::heads`] found.
pub(super) fn head_of(heads: &[(Row, Head)], row: Row) -> Option<&Head> {
    let at = heads.binary_search_by_key(&row, |(row, _)| *row).ok()?;
    heads.get(at).map(|(_, head)| head)
}

/// A field of a journal entry.
pub(super) fn field<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Result<&'a [u8], Damaged> {
    let found = fields.iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value.as_slice()).ok_or(Damaged)
}

/// A field that is a number.
pub(super) fn number(fields: &[(String, Vec<u8>)], name: &str) -> Result<u64, Damaged> {
    std::str::from_utf8(field(fields, name)?).ok().and_then(|text| text.parse().ok()).ok_or(Damaged)
}
