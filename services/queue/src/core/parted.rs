//! A table by fingerprint that never has to be moved as a whole: one of millions that grew at once would hold up a commit.

use std::collections::HashMap;

use crate::core::keys::Key;

/// Parts of a table. Each grows for itself.
const PARTS: usize = 1_024;

/// Values by fingerprint.
#[derive(Debug)]
pub(super) struct Parted<T> {
    parts: Box<[HashMap<Key, T>]>,
}

impl<T> Default for Parted<T> {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| HashMap::new()).collect() }
    }
}

/// The part that a key belongs to; fingerprints spread evenly.
fn part_of(key: Key) -> usize {
    usize::try_from(key % PARTS as u128).unwrap_or(0)
}

impl<T> Parted<T> {
    /// The value of a key.
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.parts[part_of(key)].get(&key)
    }

    /// Gives a key a value.
    pub(super) fn insert(&mut self, key: Key, value: T) {
        self.parts[part_of(key)].insert(key, value);
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, key: Key) {
        self.parts[part_of(key)].remove(&key);
    }

    /// Keys of the largest part, which are the most that are ever moved at once.
    #[cfg(test)]
    pub(super) fn largest(&self) -> usize {
        self.parts.iter().map(HashMap::len).max().unwrap_or(0)
    }
}
