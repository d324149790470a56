//! Revisions in the key-value store.
//!
//! - `policy/state`: which revision is active, and the history of those that are kept
//! - `policy/revision/<hash>`: the ids of its modules with the hashes of their texts, and its data
//! - `policy/module/<hash>`: the text of a module; revisions share it

use std::collections::BTreeSet;
use std::sync::Arc;

use nova_authz::{Module, Snapshot};
use nova_storage::{Commit, Kv};
use nova_types::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Error;

const STATE: &str = "policy/state";
const REVISIONS: &str = "policy/revision/";
const MODULES: &str = "policy/module/";

/// Which revision is active, and how it came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Active revision.
    pub(crate) active: String,
    /// When it became active.
    pub(crate) since: Timestamp,
    /// Why the last change was refused; empty when it was not.
    pub(crate) last_error: String,
    /// Revisions that are kept, the oldest first.
    pub(crate) history: Vec<String>,
    /// Whether it is the one built into the daemon: a newer daemon then brings a newer one.
    pub(crate) built_in: bool,
}

/// The state as it was read: a write is refused if it has changed since.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) state: State,
    version: Option<u64>,
}

impl Read {
    /// The state in which `snapshot` is the active revision.
    pub(crate) fn activated(&self, snapshot: &Snapshot, now: Timestamp) -> State {
        State {
            active: snapshot.revision().to_owned(),
            since: now,
            last_error: String::new(),
            history: self.state.history.clone(),
            built_in: false,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    modules: Vec<ModuleEntry>,
    data_json: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct ModuleEntry {
    id: String,
    hash: String,
}

#[derive(Clone, Debug)]
pub(crate) struct RevisionStore {
    kv: Arc<dyn Kv>,
    kept: usize,
}

impl RevisionStore {
    pub(crate) fn new(kv: Arc<dyn Kv>, kept: usize) -> Self {
        Self { kv, kept }
    }

    /// The state; none before the first revision.
    pub(crate) async fn read(&self) -> Result<Read, Error> {
        let Some(entry) = self.kv.get(STATE).await? else {
            return Ok(Read { state: State::default(), version: None });
        };
        Ok(Read { state: decode(STATE, &entry.value)?, version: Some(entry.version) })
    }

    /// Replaces the state alone.
    pub(crate) async fn write(&self, read: &Read, state: &State) -> Result<(), Error> {
        let commit = Commit::new().check(STATE, read.version).put(STATE, encode(state));
        self.kv.commit(commit).await?;
        Ok(())
    }

    /// Stores a revision and makes it the active one, in one commit; the oldest are let go.
    pub(crate) async fn activate(
        &self,
        read: &Read,
        mut state: State,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        state.history.retain(|revision| revision != snapshot.revision());
        state.history.push(snapshot.revision().to_owned());
        let excess = state.history.len().saturating_sub(self.kept);
        let gone: Vec<String> = state.history.drain(..excess).collect();
        let mut commit = Commit::new().check(STATE, read.version).put(STATE, encode(&state));
        for module in &distinct_texts(snapshot) {
            commit = commit.put(format!("{MODULES}{}", hash(module)), module.as_bytes());
        }
        commit = commit.put(revision_key(snapshot.revision()), encode(&Manifest::of(snapshot)));
        for key in self.unreferenced(&gone, &state, snapshot).await? {
            commit = commit.delete(key);
        }
        self.kv.commit(commit).await?;
        Ok(())
    }

    /// Keys that nothing needs any more once the revisions `gone` are.
    async fn unreferenced(
        &self,
        gone: &[String],
        state: &State,
        snapshot: &Snapshot,
    ) -> Result<Vec<String>, Error> {
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut needed: BTreeSet<String> = distinct_texts(snapshot).into_iter().map(hash).collect();
        for kept in state.history.iter().filter(|revision| *revision != snapshot.revision()) {
            needed.extend(self.module_hashes(kept).await?);
        }
        let mut keys: BTreeSet<String> = BTreeSet::new();
        for revision in gone {
            let hashes = self.module_hashes(revision).await?;
            keys.extend(hashes.difference(&needed).map(|hash| format!("{MODULES}{hash}")));
            keys.insert(revision_key(revision));
        }
        Ok(keys.into_iter().collect())
    }

    async fn module_hashes(&self, revision: &str) -> Result<BTreeSet<String>, Error> {
        let manifest = self.manifest(revision).await?;
        let modules = manifest.map(|manifest| manifest.modules).unwrap_or_default();
        Ok(modules.into_iter().map(|module| module.hash).collect())
    }

    /// A revision that is kept.
    pub(crate) async fn snapshot(&self, revision: &str) -> Result<Snapshot, Error> {
        let Some(manifest) = self.manifest(revision).await? else {
            return Err(Error::NoRevision(revision.to_owned()));
        };
        let mut modules = Vec::new();
        for module in manifest.modules {
            modules.push(Module { rego: self.text(&module.hash).await?, id: module.id });
        }
        Snapshot::received(revision, modules, &manifest.data_json)
            .map_err(|error| Error::damaged(format!("revision {revision}"), error))
    }

    async fn manifest(&self, revision: &str) -> Result<Option<Manifest>, Error> {
        let key = revision_key(revision);
        let Some(entry) = self.kv.get(&key).await? else { return Ok(None) };
        decode(&key, &entry.value).map(Some)
    }

    async fn text(&self, hash: &str) -> Result<String, Error> {
        let key = format!("{MODULES}{hash}");
        let entry = self.kv.get(&key).await?.ok_or_else(|| Error::damaged(&key, "it is missing"))?;
        String::from_utf8(entry.value).map_err(|error| Error::damaged(&key, error))
    }
}

impl Manifest {
    fn of(snapshot: &Snapshot) -> Self {
        let entry = |module: &Module| ModuleEntry { id: module.id.clone(), hash: hash(&module.rego) };
        let modules = snapshot.modules().iter().map(entry).collect();
        Self { modules, data_json: snapshot.data_json().to_owned() }
    }
}

fn distinct_texts(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.modules().iter().map(|module| module.rego.as_str()).collect()
}

fn revision_key(revision: &str) -> String {
    format!("{REVISIONS}{revision}")
}

fn hash(text: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(text))
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain records have a JSON form")
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| Error::damaged(key, error))
}
