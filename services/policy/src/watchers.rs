//! Who watches for revisions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watchers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    names: BTreeMap<u64, String>,
}

impl Watchers {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, open: Mutex::default() }))
    }

    /// Notes a watcher until what is returned is dropped.
    pub(crate) fn enter(&self, name: &str) -> Result<Watching, Error> {
        let mut open = self.open();
        if open.names.len() >= self.0.most {
            return Err(Error::TooManyWatchers(open.names.len()));
        }
        let key = open.next;
        open.next += 1;
        open.names.insert(key, name.to_owned());
        Ok(Watching { watchers: self.clone(), key })
    }

    /// Their names, sorted, each once.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.open().names.values().cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher, as long as it lives.
#[derive(Debug)]
pub(crate) struct Watching {
    watchers: Watchers,
    key: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watchers.open().names.remove(&self.key);
    }
}
