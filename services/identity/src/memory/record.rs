//! A memory, as it is stored.

use std::collections::BTreeMap;

use nova_types::{MemoryId, Namespace, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::records;

/// What kind of memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemoryKind {
    Sensory,
    Working,
    Episodic,
    Semantic,
    Procedural,
    Identity,
    Social,
    Prospective,
    Reflective,
}

/// What a writer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) namespace: Namespace,
    pub(crate) kind: MemoryKind,
    pub(crate) text: String,
    pub(crate) data_json: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) importance: f64,
}

impl Draft {
    /// SHA-256 of all that the writer says, hex: two drafts with one request_id must agree in it.
    pub(crate) fn fingerprint(&self) -> String {
        records::fingerprint(&records::encode(self))
    }
}

/// One thing remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) id: MemoryId,
    pub(crate) author: SpiffeId,
    pub(crate) created: Timestamp,
    #[serde(flatten)]
    pub(crate) content: Draft,
}

/// Under which all memories are.
pub(crate) const PREFIX: &str = "memory/record/";

/// The key of a memory.
pub(crate) fn key(namespace: &Namespace, memory: &MemoryId) -> String {
    format!("{PREFIX}{namespace}/{memory}")
}

/// The id in a key.
pub(crate) fn id_in(key: &str) -> Option<MemoryId> {
    let (_, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
    MemoryId::parse("key", id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_id_back() {
        let id = MemoryId::new(Timestamp::from_micros(1));
        assert_eq!(id_in(&key(&Namespace::default(), &id)), Some(id));
        assert_eq!(id_in("memory/record/default/none"), None);
    }
}
