//! Reading what the server answers.

use crate::kv::{Change, Entry, Revision};
use crate::{CommitError, Error};

/// Key and record, in order.
pub(super) type RangeReply = Vec<(String, Vec<u8>)>;
/// 1 and the revision, 0 and the key whose check failed, or 2: it came too late.
pub(super) type CommitReply = (u8, String);
/// Revision and floor, then the log's entries: id and its fields.
pub(super) type ChangesReply = ((Option<Revision>, Option<Revision>), Vec<(String, Vec<String>)>);

/// A page of the log.
pub(super) struct LogPage {
    pub(super) revision: Revision,
    pub(super) floor: Revision,
    /// Each with its id in the stream.
    pub(super) changes: Vec<(String, Change)>,
}

/// A record is `<version>:<value>`.
pub(super) fn entry(key: String, mut record: Vec<u8>) -> Result<Entry, Error> {
    let colon = record.iter().position(|byte| *byte == b':');
    let version = colon.and_then(|colon| std::str::from_utf8(&record[..colon]).ok()?.parse().ok());
    let (Some(colon), Some(version)) = (colon, version) else {
        return Err(Error::damaged(format!("the record of {key:?} has no version")));
    };
    record.drain(..=colon);
    Ok(Entry { key, value: record, version })
}

pub(super) fn of_commit((applied, text): CommitReply) -> Result<Revision, CommitError> {
    match applied {
        0 => Err(CommitError::Conflict { key: text }),
        2 => Err(Error::TooLate.into()),
        _ => Ok(text
            .parse()
            .map_err(|_| Error::damaged(format!("a commit was given the revision {text:?}")))?),
    }
}

pub(super) fn changes(((revision, floor), log): ChangesReply) -> Result<LogPage, Error> {
    let changes = log.into_iter().map(|(id, fields)| {
        let change =
            change(&id, &fields).ok_or_else(|| Error::damaged(format!("the change {id} cannot be read")))?;
        Ok((id, change))
    });
    Ok(LogPage {
        revision: revision.unwrap_or(0),
        floor: floor.unwrap_or(0),
        changes: changes.collect::<Result<_, Error>>()?,
    })
}

fn change(id: &str, fields: &[String]) -> Option<Change> {
    let revision = id.split_once('-')?.0.parse().ok()?;
    let [_, key, _, deleted] = fields else { return None };
    Some(Change { revision, key: key.clone(), deleted: deleted == "1" })
}
