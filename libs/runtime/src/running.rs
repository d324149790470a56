//! The tasks that a daemon waits for when it stops, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Counts running tasks by name.
#[derive(Clone, Debug)]
pub(crate) struct RunningTasks(Arc<watch::Sender<BTreeMap<&'static str, usize>>>);

impl RunningTasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }

    /// Counts a task until the guard is dropped.
    pub(crate) fn enter(&self, name: &'static str) -> Running {
        self.0.send_modify(|tasks| *tasks.entry(name).or_default() += 1);
        Running { tasks: self.clone(), name }
    }

    /// Waits until none runs.
    pub(crate) async fn none(&self) {
        let mut changes = self.0.subscribe();
        if changes.wait_for(BTreeMap::is_empty).await.is_err() {
            tracing::trace!("nobody counts tasks any more");
        }
    }

    /// The names of those that run.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.borrow().keys().copied().collect()
    }
}

/// A task that runs.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: RunningTasks,
    name: &'static str,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.0.send_modify(|tasks| {
            let left = tasks.remove(self.name).unwrap_or(1) - 1;
            if left > 0 {
                tasks.insert(self.name, left);
            }
        });
    }
}
