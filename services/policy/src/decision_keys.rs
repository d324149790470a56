//! Where a decision is kept, and the indexes that lead to it. Ids sort by time, so do keys.
//!
//! - `policy/decision/<id>`: the decision
//! - `policy/denied/<id>`: an index of the denials
//! - `policy/trace/<trace>/<id>`: an index by trace

use nova_authz::Decided;
use nova_storage::Commit;

pub(crate) const DECISIONS: &str = "policy/decision/";
pub(crate) const DENIED: &str = "policy/denied/";
/// Keys that one decision has at most.
pub(crate) const KEYS_EACH: usize = 3;

pub(crate) fn trace_prefix(trace_id: &str) -> String {
    format!("policy/trace/{trace_id}/")
}

pub(crate) fn decision_key(id: &str) -> String {
    format!("{DECISIONS}{id}")
}

/// The id at the end of any of these keys.
pub(crate) fn id_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn index_keys(decided: &Decided) -> Vec<String> {
    let mut keys = Vec::new();
    if !decided.allow {
        keys.push(format!("{DENIED}{}", decided.id));
    }
    if !decided.trace_id.is_empty() {
        keys.push(format!("{}{}", trace_prefix(&decided.trace_id), decided.id));
    }
    keys
}

pub(crate) fn put(commit: Commit, decided: &Decided) -> Commit {
    let value = serde_json::to_vec(decided).expect("a decision has a JSON form");
    let commit = commit.put(decision_key(&decided.id.to_string()), value);
    index_keys(decided).into_iter().fold(commit, |commit, key| commit.put(key, Vec::new()))
}

pub(crate) fn delete(commit: Commit, decided: &Decided) -> Commit {
    let commit = commit.delete(decision_key(&decided.id.to_string()));
    index_keys(decided).into_iter().fold(commit, Commit::delete)
}
