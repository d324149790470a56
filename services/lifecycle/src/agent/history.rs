//! The moves of an agent, numbered; the last thousand are kept.

use nova_storage::{Commit, Range};
use nova_types::{AgentId, Namespace};

use super::{AgentRecord, Transition};
use crate::error::Error;
use crate::records::{Records, decode, encode};

/// Moves that are kept of each agent.
const KEPT: u64 = 1_000;

pub(super) fn prefix(namespace: &Namespace, id: &AgentId) -> String {
    format!("agent-history/{namespace}/{id}/")
}

/// Adds moves, the last of which is number `record.moves`, to a commit.
pub(super) fn append(mut commit: Commit, record: &AgentRecord, moves: &[Transition]) -> Commit {
    let prefix = prefix(&record.namespace, &record.id);
    let first = record.moves + 1 - moves.len() as u64;
    for (number, transition) in (first..).zip(moves) {
        commit = commit.put(format!("{prefix}{number:012}"), encode(transition));
        if let Some(old) = number.checked_sub(KEPT) {
            commit = commit.delete(format!("{prefix}{old:012}"));
        }
    }
    commit
}

/// A page, newest first, and the key to go on from.
pub(super) async fn page(
    records: &Records,
    prefix: String,
    size: usize,
    after: Option<String>,
) -> Result<(Vec<Transition>, Option<String>), Error> {
    let range = Range { after, ..Range::prefix(prefix).limit(size).descending() };
    let (entries, next) = records.page(range).await?;
    let transitions =
        entries.iter().map(|entry| decode(&entry.key, &entry.value)).collect::<Result<_, _>>()?;
    Ok((transitions, next))
}
