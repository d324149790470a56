//! What a daemon is given to work with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use nova_authz::PolicyPoint;
use nova_client::Mesh;
use nova_storage::redis::{RedisUrl, without_password};
use nova_storage::{Kv, RedisKv, SqliteKv};
use nova_types::{Clock, TrustDomain, Violation};
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::daemon::StartError;
use crate::readiness::{self, Needs, Readiness};
use crate::running::RunningTasks;

/// Where a daemon keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// SQLite files in the data folder.
    Sqlite,
    /// A Redis: one server, a cluster, or watched by sentinels.
    Redis(RedisUrl),
}

impl StoreUrl {
    /// Reads `sqlite` or the URL of a Redis.
    ///
    /// # Errors
    /// Which rule is broken, with the text but for its passwords.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let rule = |error: nova_storage::Error| format!("must be sqlite or a Redis: {error}");
        let store = if text == "sqlite" { Ok(Self::Sqlite) } else { text.parse().map(Self::Redis) };
        store.map_err(|error| Violation::new("runtime.store", rule(error)))
    }

    /// The text of a store as it may be shown: without its passwords. It need not be a good one.
    pub fn shown(text: &str) -> String {
        without_password(text)
    }
}

/// Handle on the process that a daemon runs in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreUrl,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) mesh: Mesh,
    pub(crate) policy: PolicyPoint,
    pub(crate) bundle_pem: String,
    pub(crate) jwks: String,
    pub(crate) otlp: Option<crate::Otlp>,
    pub(crate) metrics: prometheus::Registry,
    pub(crate) needs: Needs,
    pub(crate) shutdown: CancellationToken,
    pub(crate) failed: CancellationToken,
    pub(crate) stopped: CancellationToken,
    pub(crate) running: RunningTasks,
    pub(crate) connections: Connections,
}

impl Runtime {
    /// Name of the daemon.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// URL at which other daemons reach this one's gRPC.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Where the time comes from.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    /// Folder of the daemon's state; it exists.
    pub fn data_dir(&self) -> &Path {
        &self.0.data_dir
    }

    /// Which store the daemon was told to use.
    pub fn store(&self) -> &StoreUrl {
        &self.0.store
    }

    /// The versioned key-value store, on the engine of [`Runtime::store`]. While it cannot be reached, the daemon is not
    /// ready.
    pub async fn kv(&self) -> Result<Arc<dyn Kv>, StartError> {
        let url = match self.store() {
            StoreUrl::Sqlite => return Ok(Arc::new(SqliteKv::open(&self.data_dir().join("kv.db"))?)),
            StoreUrl::Redis(url) => url,
        };
        let kv = Arc::new(RedisKv::connect(url, self.name()).await?);
        let store = self.readiness("store");
        store.ready();
        self.spawn_background("store-readiness", readiness::follow(kv.clone(), store));
        Ok(kv)
    }

    /// Trust domain of the mesh.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.0.trust_domain
    }

    /// Clients of the other daemons.
    pub fn clients(&self) -> &Mesh {
        &self.0.mesh
    }

    /// The decision point of this process.
    pub fn policy(&self) -> &PolicyPoint {
        &self.0.policy
    }

    /// Roots of the mesh, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.0.bundle_pem
    }

    /// What a child process is handed, to join the mesh as `subject`.
    pub fn handoff(&self, subject: String, join_token: String) -> crate::Handoff {
        crate::Handoff {
            subject,
            join_token,
            trust_domain: self.0.trust_domain.clone(),
            bundle_pem: self.0.bundle_pem.clone(),
            jwks: self.0.jwks.clone(),
            endpoints: self.0.mesh.endpoints().clone(),
            otlp: self.0.otlp.clone(),
        }
    }

    /// Fires when the daemon begins to drain: long polls and streams should end.
    pub fn shutdown(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    /// Adds something that must be there before the daemon is ready.
    pub fn readiness(&self, what: &str) -> Readiness {
        self.0.needs.add(what)
    }

    /// Runs a task that has a name, and that ends soon after [`Runtime::shutdown`] fires: the daemon
    /// waits for it. A panic in it ends the daemon: what half works must not look well.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.0.running.enter(name);
        self.run(name, async move {
            task.await;
            drop(running);
        });
    }

    /// Runs a task that has a name, and that is dropped when the daemon has drained.
    pub fn spawn_background(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.0.stopped.clone();
        self.run(name, async move {
            tokio::select! {
                () = task => {}
                () = stopped.cancelled() => {}
            }
        });
    }

    #[expect(clippy::disallowed_methods, reason = "this is where tasks get their names")]
    fn run(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let failed = self.0.failed.clone();
        tokio::spawn(async move {
            if std::panic::AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked; the daemon ends");
                failed.cancel();
            }
        });
    }

    pub(crate) fn needs(&self) -> &Needs {
        &self.0.needs
    }

    /// Waits for the tasks that end by themselves, but not for long; then drops the others.
    pub(crate) async fn finish(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.0.running.none()).await.is_err() {
            tracing::warn!(tasks = ?self.0.running.names(), "tasks were cut off");
        }
        self.0.stopped.cancel();
    }
}
