//! Every open run has one driver: started with the run, or with the daemon.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nova_runtime::Runtime;
use nova_types::{Namespace, RunId};

use super::driver::drive;
use super::executor::Executor;
use crate::error::Error;

/// Waits between tries to go on with a run.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Drives runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    executor: Arc<Executor>,
    runtime: Runtime,
    open: Arc<Mutex<BTreeSet<RunId>>>,
    max_open: usize,
    drives: bool,
}

impl Scheduler {
    /// Drives at most `max_open` new runs at once; those that were open before come on top.
    pub fn new(executor: Executor, runtime: Runtime, max_open: usize) -> Self {
        Self { executor: Arc::new(executor), runtime, open: Arc::default(), max_open, drives: true }
    }

    /// Drives none, if told so: open runs are left as they are, and none begins.
    #[must_use]
    pub fn driving(self, drives: bool) -> Self {
        Self { drives, ..self }
    }

    /// What drivers work with.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Fails when no runs are driven here, or as many are open as may be.
    pub fn check_room(&self) -> Result<(), Error> {
        if !self.drives {
            return Err(Error::RunsNotDriven);
        }
        let open = self.lock().len();
        if open < self.max_open { Ok(()) } else { Err(Error::TooManyRuns(open)) }
    }

    /// Goes on with every run that has not ended.
    pub async fn resume(&self) -> Result<(), Error> {
        if !self.drives {
            tracing::info!("open runs are left as they are");
            return Ok(());
        }
        let open = self.executor.runs.open().await?;
        // Before any driver ends its run: what one run lets go may be wanted by another.
        for (_, run_id) in &open {
            match self.executor.runs.state(*run_id).await {
                Ok(state) => self.executor.want_agents(&state),
                Err(error) => tracing::warn!(run = %run_id, %error, "what a run wants is not known yet"),
            }
        }
        for (namespace, run_id) in open {
            tracing::info!(run = %run_id, "going on with a run");
            self.begin(namespace, run_id);
        }
        Ok(())
    }

    /// Drives a run, unless it has a driver.
    pub fn begin(&self, namespace: Namespace, run_id: RunId) {
        if !self.lock().insert(run_id) {
            return;
        }
        let this = self.clone();
        self.runtime.spawn_background("run-driver", async move {
            this.drive_to_the_end(&namespace, run_id).await;
            this.lock().remove(&run_id);
        });
    }

    async fn drive_to_the_end(&self, namespace: &Namespace, run_id: RunId) {
        let drain = self.runtime.shutdown();
        let mut wait = FIRST_WAIT;
        loop {
            let began = tokio::time::Instant::now();
            let driven = tokio::select! {
                driven = drive(&self.executor, namespace, run_id) => driven,
                () = drain.cancelled() => return,
            };
            let Err(error) = driven else { return };
            tracing::warn!(run = %run_id, %error, "a run waits, and is tried again");
            wait = if began.elapsed() > LONGEST_WAIT { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = drain.cancelled() => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<RunId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
