//! How a worker is put together, checked before it begins.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nova_client::Mesh;
use nova_types::{Namespace, QueueName, TaskKind, Violation, Violations, WorkerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::{BoxError, Layer, Service};

use crate::handler::{Handlers, boxed, handler_fn, wrapping};
use crate::layers::{self, Wrapping};
use crate::worker::Settings;
use crate::{Activity, Context, Failure, TaskRequest, TaskService, Worker};

/// Most queues of one worker.
const QUEUES: usize = 64;
/// Most leases at once.
const PLACES: usize = 10_000;
/// Shortest and longest lease.
const LEASE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// A worker to be.
pub struct WorkerBuilder {
    mesh: Mesh,
    settings: Settings,
    handlers: Handlers,
    repeated: Vec<String>,
    layers: Vec<Wrapping>,
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = self.layers.len();
        let mut text = f.debug_struct("WorkerBuilder");
        text.field("settings", &self.settings).field("handlers", &self.handlers).field("layers", &layers);
        text.finish_non_exhaustive()
    }
}

impl WorkerBuilder {
    pub(crate) fn new(mesh: Mesh) -> Self {
        let settings = Settings {
            namespace: "default".to_owned(),
            queues: Vec::new(),
            name: format!("worker:{}", std::process::id()),
            concurrency: 1,
            prefetch: 0,
            lease_duration: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
        };
        Self { mesh, settings, handlers: Handlers::default(), repeated: Vec::new(), layers: Vec::new() }
    }

    /// One more queue to work on; earlier ones are preferred. 1 to 64.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.settings.queues.push(queue.into());
        self
    }

    /// More queues to work on, in order of preference: 1 to 64 in all.
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// Namespace of the queues; `default` unless told.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.settings.namespace);
        self
    }

    /// What people see of this worker; `worker:<process id>` unless told.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.settings.name);
        self
    }

    /// Handlers at once, 1 to 10,000; 1 unless told.
    #[must_use]
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// Leases that wait here for a handler to end, beside those that run: short tasks then follow each other without
    /// a pause. 0 unless told; with `concurrency` at most 10,000.
    #[must_use]
    pub fn prefetch(mut self, leases: usize) -> Self {
        self.settings.prefetch = leases;
        self
    }

    /// How long a lease outlives its last heartbeat, 1 s to 1 h; 30 s unless told. Heartbeats are sent every
    /// third of it, so this is how soon another worker takes over when this one dies.
    #[must_use]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.settings.lease_duration = duration;
        self
    }

    /// The grace that a drain leaves to handlers that run; 30 s unless told. After it they are told to stop.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// How long a handler that is told to stop may go on until it is dropped; 5 s unless told.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stop_timeout = timeout;
        self
    }

    /// Registers the handler of a kind; see [`handler_fn`] for how its types are read and written.
    #[must_use]
    pub fn handle<P, R, F, A>(self, kind: &str, handle: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(P, Context) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        self.handle_service(kind, handler_fn(handle))
    }

    /// Registers a service as the handler of a kind, such as a [`handler_fn`] with layers around it.
    #[must_use]
    pub fn handle_service<S>(mut self, kind: &str, service: S) -> Self
    where
        S: Service<TaskRequest, Response = Bytes> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        if !self.handlers.add(kind, boxed(service)) {
            self.repeated.push(kind.to_owned());
        }
        self
    }

    /// Tasks of kinds that have no handler here are dead at once. Unless told they are handed back, to be ready again
    /// after 5 s, and the attempt does not count: in a deployment under way a worker that is newer may know them. For
    /// queues whose every worker knows every kind, where an unknown one is a mistake.
    #[must_use]
    pub fn fail_unknown_kinds(mut self) -> Self {
        self.handlers.fail_unknown();
        self
    }

    /// Puts a layer around every handler, whenever registered; the first layer is the outermost. Each kind has
    /// the layer to itself: [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer) limits each kind.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<TaskService> + Send + Sync + 'static,
        L::Service: Service<TaskRequest, Response = Bytes> + Clone + Send + Sync + 'static,
        <L::Service as Service<TaskRequest>>::Error: Into<BoxError>,
        <L::Service as Service<TaskRequest>>::Future: Send + 'static,
    {
        self.layers.push(Box::new(wrapping(layer)));
        self
    }

    /// Checks all of it. Metrics are bound to the global meter here: build after telemetry has started.
    pub fn build(self) -> Result<Worker, Violations> {
        let mut violations = Violations::new();
        violations.take(Namespace::parse("namespace", &self.settings.namespace));
        violations.take(WorkerName::parse("name", &self.settings.name));
        for queue in &self.settings.queues {
            violations.take(QueueName::parse("queues", queue));
        }
        for kind in self.handlers.kinds() {
            violations.take(TaskKind::parse("handlers", kind));
        }
        for rule in self.broken_rules() {
            violations.push(rule);
        }
        violations.finish()?;
        let layers = layers::standard().into_iter().chain(self.layers).collect::<Vec<_>>();
        let handlers = layers.iter().rev().fold(self.handlers, Handlers::wrap);
        Ok(Worker {
            settings: Arc::new(self.settings),
            handlers: Arc::new(handlers),
            mesh: self.mesh,
            activity: Activity::default(),
        })
    }

    fn broken_rules(&self) -> Vec<Violation> {
        let settings = &self.settings;
        let rules = [
            ("queues", (1..=QUEUES).contains(&settings.queues.len()), "needs 1 to 64 queues"),
            ("handlers", self.handlers.kinds().next().is_some(), "needs at least one handler"),
            ("handlers", self.repeated.is_empty(), "a kind has two handlers"),
            ("concurrency", (1..=PLACES).contains(&settings.concurrency), "must be 1 to 10000"),
            ("prefetch", settings.places() <= PLACES, "must be at most 10000 with concurrency"),
            ("lease_duration", (LEASE.0..=LEASE.1).contains(&settings.lease_duration), "must be 1 s to 1 h"),
        ];
        let broken = rules.into_iter().filter(|(_, kept, _)| !kept);
        broken.map(|(field, _, rule)| Violation::new(field, rule)).collect()
    }
}
