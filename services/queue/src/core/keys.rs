//! Idempotency keys: which task a request made, for as long as that task is kept.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    core::{Core, entry::Entry, parted::Parted},
    record::{NewTask, Spec},
};

/// Fingerprint of namespace, queue and key.
pub(super) type Key = u128;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The task that it made.
    pub(super) id: Uuid,
    /// Fingerprint of the body that came with it.
    pub(super) body_hash: u64,
}

/// The keys of every kept task.
pub(super) type Keys = Parted<Known>;

impl Core {
    /// Frees the key of a task that is forgotten.
    pub(super) fn forget_key(&mut self, entry: &Entry) {
        if let Some(key) = key_of(&entry.spec) {
            self.keys.remove(key);
        }
    }
}

/// Fingerprint of a task's key; nothing when it has none.
pub fn key_of(spec: &Spec) -> Option<u128> {
    if spec.request_id.is_empty() {
        return None;
    }
    Some(fingerprint(&[&spec.namespace, &spec.queue, &spec.request_id]))
}

/// Fingerprint of texts in order.
pub(super) fn fingerprint(parts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    Key::from_le_bytes(digest[..16].try_into().expect("a digest has 32 bytes"))
}

/// Fingerprint of what a producer asked for, so that another body under the same key is noticed.
/// The trace context is left out: a repeated call has one of its own.
pub fn body_hash(task: &NewTask) -> u64 {
    let spec = &task.spec;
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(spec.kind.as_bytes());
    add(&task.payload);
    for (key, value) in &spec.metadata {
        add(key.as_bytes());
        add(value.as_bytes());
    }
    let timeout = spec.attempt_timeout.map_or(0, |timeout| timeout.as_micros());
    for number in
        [task.delay.as_micros(), spec.retry.initial.as_micros(), spec.retry.max.as_micros(), timeout]
    {
        add(&number.to_le_bytes());
    }
    add(&spec.retry.factor.to_le_bytes());
    add(&[spec.priority]);
    add(&spec.retry.max_attempts.to_le_bytes());
    if !spec.group.is_empty() {
        add(b"group");
        add(spec.group.as_bytes());
    }
    if let Some(terms) = &spec.terms {
        add(&terms.pack());
        task.after_index.iter().for_each(|index| add(&index.to_le_bytes()));
    }
    u64::from_le_bytes(hash.finalize()[..8].try_into().expect("a digest has 32 bytes"))
}
