//! Which agents' processes the open runs want. In memory: every driver says it again at start.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use nova_types::{AgentId, Namespace, RunId};

use super::mesh::AgentProcess;

/// Agents share this many turns: two may wait for each other without need, and memory stays bounded.
const TURNS: usize = 64;

/// The wants of all open runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wants {
    processes: Arc<Mutex<BTreeMap<String, Want>>>,
    turns: Arc<[tokio::sync::Mutex<()>]>,
}

#[derive(Clone, Debug)]
struct Want {
    process: AgentProcess,
    runs: BTreeSet<RunId>,
}

impl Default for Wants {
    fn default() -> Self {
        let turns = (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect();
        Self { processes: Arc::default(), turns }
    }
}

impl Wants {
    /// A run wants a process.
    pub fn add(&self, run: RunId, process: AgentProcess) {
        let mut wants = self.lock();
        let want = wants.entry(process.id()).or_insert_with(|| Want { process, runs: BTreeSet::new() });
        want.runs.insert(run);
    }

    /// A run wants a process no more; false when it did not.
    pub fn remove(&self, run: RunId, process: &str) -> bool {
        let mut wants = self.lock();
        let wanted = wants.get_mut(process).is_some_and(|want| want.runs.remove(&run));
        wants.retain(|_, want| !want.runs.is_empty());
        wanted
    }

    /// A run wants nothing any more; gives what it wanted.
    pub fn release(&self, run: RunId) -> Vec<AgentProcess> {
        let mut wants = self.lock();
        let wanted =
            wants.values_mut().filter_map(|want| want.runs.remove(&run).then(|| want.process.clone()));
        let wanted = wanted.collect();
        wants.retain(|_, want| !want.runs.is_empty());
        wanted
    }

    /// All that are wanted.
    pub fn all(&self) -> Vec<AgentProcess> {
        self.lock().values().map(|want| want.process.clone()).collect()
    }

    /// Whether any open run wants this process.
    pub fn has_process(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Whether any open run wants any process of this agent.
    pub fn has_agent(&self, namespace: &Namespace, agent: &AgentId) -> bool {
        let of_it = |want: &Want| want.process.namespace == *namespace && want.process.agent == *agent;
        self.lock().values().any(of_it)
    }

    /// Whoever starts or stops an agent's process first takes its turn, then looks whether it is wanted:
    /// a process that is being stopped is not taken for one that runs. Take one at a time.
    pub async fn turn(&self, agent: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        agent.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % TURNS as u64).expect("it is below 64");
        self.turns[place].lock().await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Want>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
