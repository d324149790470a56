//! What a daemon decides with: modules and data, named by their content.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const BOOTSTRAP: &str = include_str!("bootstrap.rego");

/// A file of Rego.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its name, such as `authz.rego`.
    pub id: String,
    /// Its text, Rego v1.
    pub rego: String,
}

impl Module {
    /// Whether it only tests others: it is verified, but no daemon decides with it.
    pub fn is_test(&self) -> bool {
        self.id.ends_with("_test.rego")
    }
}

/// An immutable revision of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    revision: String,
    modules: Vec<Module>,
    data_json: String,
}

/// Why something is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The data is no JSON object.
    #[error("the data is not a JSON object: {0}")]
    Data(String),
    /// The content is not what its name says.
    #[error("revision {claimed} has the content of {actual}")]
    Forged {
        /// Revision that it was sent as.
        claimed: String,
        /// Revision that its content has.
        actual: String,
    },
}

impl Snapshot {
    /// A revision of these modules and this JSON object.
    pub fn new(mut modules: Vec<Module>, data_json: &str) -> Result<Self, SnapshotError> {
        modules.sort_by(|a, b| a.id.cmp(&b.id));
        let data_json = canonical(data_json)?;
        Ok(Self { revision: content_hash(&modules, &data_json), modules, data_json })
    }

    /// A revision that came from elsewhere; its content must be what its name says.
    pub fn received(claimed: &str, modules: Vec<Module>, data_json: &str) -> Result<Self, SnapshotError> {
        let snapshot = Self::new(modules, data_json)?;
        let forged = |actual| SnapshotError::Forged { claimed: claimed.to_owned(), actual };
        if snapshot.revision == claimed { Ok(snapshot) } else { Err(forged(snapshot.revision)) }
    }

    /// The revision that is in force before any other: only what the mesh needs to come up.
    pub fn bootstrap() -> Self {
        let module = Module { id: "bootstrap.rego".to_owned(), rego: BOOTSTRAP.to_owned() };
        Self::new(vec![module], "{}").expect("an empty object is JSON")
    }

    /// Content hash, which names it: SHA-256 in hex.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Its modules, by id.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The document `data`, a JSON object with sorted keys.
    pub fn data_json(&self) -> &str {
        &self.data_json
    }
}

/// Each part goes in with its length before it, so that no two contents share a hash.
fn content_hash(modules: &[Module], data_json: &str) -> String {
    let mut hash = Sha256::new();
    let parts = modules.iter().flat_map(|module| [module.id.as_str(), module.rego.as_str()]);
    for part in parts.chain([data_json]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

fn canonical(data_json: &str) -> Result<String, SnapshotError> {
    let data: serde_json::Value =
        serde_json::from_str(data_json).map_err(|error| SnapshotError::Data(error.to_string()))?;
    if !data.is_object() {
        return Err(SnapshotError::Data("it is another kind of JSON".to_owned()));
    }
    Ok(sorted(data).to_string())
}

/// Sorts the keys of every object, whatever order the map type keeps.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(id: &str, rego: &str) -> Module {
        Module { id: id.to_owned(), rego: rego.to_owned() }
    }

    #[test]
    fn the_same_content_has_the_same_revision_in_any_order() {
        let one = Snapshot::new(vec![module("a", "x"), module("b", "y")], r#"{"k":1,"j":{"b":1,"a":2}}"#);
        let two = Snapshot::new(vec![module("b", "y"), module("a", "x")], r#"{"j":{"a":2,"b":1}, "k":1}"#);
        assert_eq!(one.unwrap(), two.unwrap());
    }

    #[test]
    fn content_cannot_move_between_modules_unseen() {
        let one = Snapshot::new(vec![module("ab", "c")], "{}").unwrap();
        let two = Snapshot::new(vec![module("a", "bc")], "{}").unwrap();
        assert_ne!(one.revision(), two.revision());
    }

    #[test]
    fn a_forged_revision_is_refused() {
        let bootstrap = Snapshot::bootstrap();
        let forged = Snapshot::received(bootstrap.revision(), vec![module("a", "package a")], "{}");
        assert!(matches!(forged, Err(SnapshotError::Forged { .. })));
    }
}
