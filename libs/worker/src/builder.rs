//! How a worker is put together, checked before it begins.

use std::sync::Arc;
use std::time::Duration;

use nova_client::Mesh;
use nova_types::{Namespace, QueueName, TaskKind, Violation, Violations, WorkerName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handler::Handlers;
use crate::worker::Settings;
use crate::{Activity, Failure, TaskContext, Worker};

/// Most queues of one worker.
const QUEUES: usize = 64;
/// Most handlers at once.
const CONCURRENCY: usize = 10_000;
/// Shortest and longest lease.
const LEASE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// A worker to be.
#[derive(Debug)]
pub struct WorkerBuilder {
    mesh: Mesh,
    settings: Settings,
    handlers: Handlers,
    repeated: Vec<String>,
}

impl WorkerBuilder {
    pub(crate) fn new(mesh: Mesh) -> Self {
        let settings = Settings {
            namespace: "default".to_owned(),
            queues: Vec::new(),
            name: format!("worker:{}", std::process::id()),
            concurrency: 1,
            lease_duration: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        };
        Self { mesh, settings, handlers: Handlers::default(), repeated: Vec::new() }
    }

    /// Queues to work on, in order of preference: 1 to 64.
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.queues = queues.into_iter().map(Into::into).collect();
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

    /// How long a lease outlives its last heartbeat, 1 s to 1 h; 30 s unless told. Heartbeats are sent every
    /// third of it, so this is how soon another worker takes over when this one dies.
    #[must_use]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.settings.lease_duration = duration;
        self
    }

    /// How long a drain waits for handlers and for the queue; 30 s unless told.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// Registers the handler of a kind. The payload is read as JSON into `P`, and the answer is
    /// written as JSON. A payload that cannot be read fails for good, with the reason INVALID_PAYLOAD.
    #[must_use]
    pub fn handler<P, R, F, A>(mut self, kind: &str, handle: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(TaskContext, P) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        if !self.handlers.add(kind, handle) {
            self.repeated.push(kind.to_owned());
        }
        self
    }

    /// Checks all of it.
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
        Ok(Worker {
            settings: Arc::new(self.settings),
            handlers: Arc::new(self.handlers),
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
            ("concurrency", (1..=CONCURRENCY).contains(&settings.concurrency), "must be 1 to 10000"),
            ("lease_duration", (LEASE.0..=LEASE.1).contains(&settings.lease_duration), "must be 1 s to 1 h"),
        ];
        let broken = rules.into_iter().filter(|(_, kept, _)| !kept);
        broken.map(|(field, _, rule)| Violation::new(field, rule)).collect()
    }
}
