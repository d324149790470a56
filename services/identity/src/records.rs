//! Records in the key-value store: JSON, so that a newer version can add fields.

use nova_storage::Entry;
use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// How often a change is tried again when others change the same record meanwhile.
pub(crate) const ATTEMPTS: usize = 16;

/// The value of a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records are plain data with text keys")
}

/// The record in an entry.
pub(crate) fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    serde_json::from_slice(&entry.value).map_err(|source| Error::Damaged { key: entry.key.clone(), source })
}

/// SHA-256 of some bytes, hex.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
