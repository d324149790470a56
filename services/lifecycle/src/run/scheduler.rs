//! Every open run has one driver: started with the run, or with the daemon.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nova_rpc::Lease;
use nova_runtime::Runtime;
use nova_types::{Namespace, RunId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::driver::drive;
use super::event::Start;
use super::executor::Executor;
use crate::error::Error;

/// Waits between tries to go on with a run.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Drives runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    executor: Arc<Executor>,
    runtime: Runtime,
    /// Runs that have a driver, and what tells it to cancel its run.
    open: Arc<Mutex<BTreeMap<RunId, CancellationToken>>>,
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
    fn check_room(&self) -> Result<(), Error> {
        self.check_drives()?;
        let open = self.lock().len();
        if open < self.max_open { Ok(()) } else { Err(Error::TooManyRuns(open)) }
    }

    fn check_drives(&self) -> Result<(), Error> {
        if self.drives { Ok(()) } else { Err(Error::RunsNotDriven) }
    }

    /// Stores a new run and drives it; the fingerprint tells requests of one request_id apart.
    pub async fn start(
        &self,
        start: Start,
        fingerprint: &str,
        lease: Option<Arc<Lease>>,
    ) -> Result<(), Error> {
        self.check_room()?;
        let (this, fingerprint) = (self.clone(), fingerprint.to_owned());
        let start = async move { this.store_and_begin(start, &fingerprint, lease).await };
        self.carry_through("run-start", start).await
    }

    async fn store_and_begin(
        &self,
        start: Start,
        fingerprint: &str,
        lease: Option<Arc<Lease>>,
    ) -> Result<(), Error> {
        let (namespace, run_id) = (start.namespace.clone(), start.run_id);
        let created = self.executor.runs.under(lease).create(start, fingerprint).await;
        // A store that failed may have stored it all the same: its driver finds out.
        if matches!(created, Ok(()) | Err(Error::Store(_))) {
            self.begin(namespace, run_id);
        }
        created
    }

    /// Sees to it that a run that was started before has a driver until it ends.
    pub async fn go_on(&self, namespace: &Namespace, run_id: RunId) -> Result<(), Error> {
        let (head, _) = self.executor.runs.head(namespace, run_id).await?;
        if self.drives && head.end_time.is_none() {
            self.begin(namespace.clone(), run_id);
        }
        Ok(())
    }

    /// Sees to it that a run ends, whoever drives it then; one that has ended stays as it is.
    pub async fn cancel(
        &self,
        namespace: &Namespace,
        run_id: RunId,
        by: &str,
        lease: Option<Arc<Lease>>,
    ) -> Result<(), Error> {
        let (this, namespace, by) = (self.clone(), namespace.clone(), by.to_owned());
        let cancel = async move { this.ask_and_tell(namespace, run_id, &by, lease).await };
        self.carry_through("run-cancel", cancel).await
    }

    async fn ask_and_tell(
        &self,
        namespace: Namespace,
        run_id: RunId,
        by: &str,
        lease: Option<Arc<Lease>>,
    ) -> Result<(), Error> {
        let (head, _) = self.executor.runs.head(&namespace, run_id).await?;
        if head.end_time.is_some() {
            return Ok(());
        }
        self.check_drives()?;
        self.executor.runs.under(lease).ask_to_cancel(run_id, by).await?;
        self.begin(namespace, run_id);
        if let Some(cancel) = self.lock().get(&run_id) {
            cancel.cancel();
        }
        Ok(())
    }

    /// Does all of a change though nobody waits for it any more: a call is dropped at its deadline, and when its
    /// client is gone, and what it stores may be stored by then.
    async fn carry_through(
        &self,
        name: &'static str,
        change: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let change = async move {
            if let Err(Err(error)) = done.send(change.await) {
                tracing::warn!(change = name, %error, "a change failed that nobody waits for");
            }
        };
        self.runtime.spawn(name, change.in_current_span());
        answer.await.unwrap_or(Err(Error::Store(nova_storage::Error::Closed)))
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
            match self.executor.runs.outline(*run_id).await {
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
        let cancel = CancellationToken::new();
        match self.lock().entry(run_id) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(cancel.clone()),
        };
        let this = self.clone();
        self.runtime.spawn_background("run-driver", async move {
            this.drive_to_the_end(&namespace, run_id, &cancel).await;
            this.lock().remove(&run_id);
        });
    }

    async fn drive_to_the_end(&self, namespace: &Namespace, run_id: RunId, cancel: &CancellationToken) {
        let drain = self.runtime.shutdown();
        let mut wait = FIRST_WAIT;
        loop {
            let began = tokio::time::Instant::now();
            let driven = tokio::select! {
                driven = drive(&self.executor, namespace, run_id, cancel) => driven,
                () = drain.cancelled() => return,
            };
            let error = match driven {
                // A store that failed to store it has not.
                Ok(()) | Err(Error::RunUnknown(_)) => return,
                Err(error) => error,
            };
            tracing::warn!(run = %run_id, %error, "a run waits, and is tried again");
            wait = longer(wait, began.elapsed());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = drain.cancelled() => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait after a try that failed; short again after one that took long.
pub(super) fn longer(wait: Duration, took: Duration) -> Duration {
    if took > LONGEST_WAIT { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) }
}
