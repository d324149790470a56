//! Which agents' processes the open runs want. In memory: every driver says it again at start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use nova_types::RunId;

use super::mesh::AgentProcess;

/// The wants of all open runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wants(Arc<Mutex<BTreeMap<String, Want>>>);

#[derive(Clone, Debug)]
struct Want {
    process: AgentProcess,
    runs: BTreeSet<RunId>,
}

impl Wants {
    /// A run wants a process.
    pub fn add(&self, run: RunId, process: AgentProcess) {
        let mut wants = self.lock();
        let want = wants.entry(process.id()).or_insert_with(|| Want { process, runs: BTreeSet::new() });
        want.runs.insert(run);
    }

    /// A run wants nothing any more.
    pub fn release(&self, run: RunId) {
        let mut wants = self.lock();
        wants.values_mut().for_each(|want| {
            want.runs.remove(&run);
        });
        wants.retain(|_, want| !want.runs.is_empty());
    }

    /// All that are wanted.
    pub fn all(&self) -> Vec<AgentProcess> {
        self.lock().values().map(|want| want.process.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Want>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
