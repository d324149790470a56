//! The other side: how typed tasks are put into a queue.

use std::time::Duration;

use nova_client::Mesh;
use nova_proto::queue::v1 as pb;
use serde::Serialize;
use tonic::Status;

/// Puts tasks into queues. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Producer {
    mesh: Mesh,
    namespace: String,
}

impl Producer {
    /// A producer for the queues of the namespace `default`.
    pub fn new(mesh: Mesh) -> Self {
        Self { mesh, namespace: "default".to_owned() }
    }

    /// For queues of another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Stores a task and answers its id once it is durable. The present span's trace goes with it.
    /// Fails as `QueueService.Enqueue` does.
    pub async fn enqueue(&self, task: NewTask) -> Result<Enqueued, Status> {
        let mut ids = self.enqueue_all([task]).await?;
        ids.pop().ok_or_else(|| Status::internal("the queue answered no receipt"))
    }

    /// Stores 1 to 1,000 tasks of together at most 4 MiB, all or none; answers in their order.
    pub async fn enqueue_all(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<Vec<Enqueued>, Status> {
        let tasks = tasks.into_iter().map(|task| task.0).collect();
        let request = pb::EnqueueRequest { namespace: self.namespace.clone(), tasks };
        let answer = self.mesh.queue().enqueue(request).await?.into_inner();
        let receipt = |task: pb::EnqueuedTask| Enqueued { id: task.id, duplicate: task.duplicate };
        Ok(answer.tasks.into_iter().map(receipt).collect())
    }
}

/// The receipt of a stored task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// Id of the task.
    pub id: String,
    /// True when its `request_id` was known: the task is an earlier one.
    pub duplicate: bool,
}

/// A task to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask(pb::NewTask);

impl NewTask {
    /// A task of a kind for a queue; the payload is written as JSON. Fails when it cannot be, such as a map whose keys
    /// are no strings.
    pub fn new(queue: &str, kind: &str, payload: &impl Serialize) -> Result<Self, serde_json::Error> {
        let payload = serde_json::to_vec(payload)?.into();
        Ok(Self(pb::NewTask { queue: queue.into(), kind: kind.into(), payload, ..pb::NewTask::default() }))
    }

    /// Idempotency key, up to 128 bytes: the same key in the same namespace and queue is the same task.
    #[must_use]
    pub fn request_id(mut self, key: &str) -> Self {
        key.clone_into(&mut self.0.request_id);
        self
    }

    /// Higher is leased earlier, 0 (lowest, unless told) to 9.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.0.priority = priority;
        self
    }

    /// Not before this long from now, at most 365 days.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.delay = delay.try_into().ok();
        self
    }

    /// Adds a label for people and filters; at most 32.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Attempts in all, 1 to 100; 3 unless told.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.retry().max_attempts = attempts;
        self
    }

    /// Wait after the first failed attempt (1 s unless told) and the longest (10 min); it doubles from one to the next.
    #[must_use]
    pub fn backoff(mut self, initial: Duration, longest: Duration) -> Self {
        self.retry().initial_backoff = initial.try_into().ok();
        self.retry().max_backoff = longest.try_into().ok();
        self
    }

    /// Longest time of one attempt, whatever its heartbeats; then its lease is lost.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.0.attempt_timeout = timeout.try_into().ok();
        self
    }

    fn retry(&mut self) -> &mut pb::RetryPolicy {
        self.0.retry.get_or_insert_default()
    }
}
