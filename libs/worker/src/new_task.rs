//! A task as its producer writes it: everything that the contract's `NewTask` can say.

use std::time::Duration;

use bytes::Bytes;
use nova_proto::queue::v1 as pb;
use nova_types::wire::to_duration;
use serde::Serialize;

/// A task to be stored. The queue checks it: what breaks a rule is refused with `INVALID_ARGUMENT`, and the field named.
/// The namespace is the [`Producer`](crate::Producer)'s.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask(pb::NewTask);

impl NewTask {
    /// A task of a kind for a queue; the payload, at most 1 MiB, is written as JSON. Names have 1 to 128 of
    /// `a-z A-Z 0-9 . _ -`. Fails when the payload cannot be written, such as a map whose keys are no strings.
    pub fn new(queue: &str, kind: &str, payload: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::from_bytes(queue, kind, serde_json::to_vec(payload)?))
    }

    /// The same with a payload that is given to the handler as it is.
    pub fn from_bytes(queue: &str, kind: &str, payload: impl Into<Bytes>) -> Self {
        let (queue, kind, payload) = (queue.to_owned(), kind.to_owned(), payload.into());
        Self(pb::NewTask { queue, kind, payload, ..pb::NewTask::default() })
    }

    /// Idempotency key, up to 128 bytes: the same key in the same namespace and queue is the same task, for as long as
    /// that is kept. The body must be the same, too; else `IDEMPOTENCY_MISMATCH`. A fresh one for each call, unless told:
    /// then no repeat of the call by the client stores it twice, but another call does.
    #[must_use]
    pub fn request_id(mut self, key: &str) -> Self {
        key.clone_into(&mut self.0.request_id);
        self
    }

    /// Up to 128 bytes: while a task with this key lives in the queue, another is not stored, and the receipt names the
    /// first. Unlike `request_id`, which is looked at before, it says nothing of the body.
    #[must_use]
    pub fn unique_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.0.unique_key);
        self
    }

    /// The unique key, which must be set, is free again after this long, 1 ms to 365 days, even while its task lives;
    /// only once the task has ended, unless told.
    #[must_use]
    pub fn unique_for(mut self, time: Duration) -> Self {
        self.0.unique_for = Some(to_duration(time));
        self
    }

    /// Whom it is for, such as a tenant or an ordering key, up to 128 bytes: groups of a queue share it by weight, and
    /// limits hold for each. The nameless group, unless told.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.0.group);
        self
    }

    /// Higher is leased earlier, 0 (lowest, unless told) to 9; a waiting task ages so that none starves.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.0.priority = priority;
        self
    }

    /// Adds a label for people and filters; at most 32, keys up to 64 bytes, values up to 256.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Not before this long from now, at most 365 days.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.delay = Some(to_duration(delay));
        self
    }

    /// Longest time until it has completed, attempts and waits included, 1 ms to 365 days; then it is dead with the
    /// reason `DEADLINE_EXCEEDED`. None, unless told.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.0.deadline = Some(to_duration(deadline));
        self
    }

    /// Longest time of one attempt, whatever its heartbeats, 1 ms to 365 days; then its lease is lost. None, unless
    /// told.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.0.attempt_timeout = Some(to_duration(timeout));
        self
    }

    /// Attempts in all, 1 to 100; 3 unless told.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.retry().max_attempts = attempts;
        self
    }

    /// Wait after the first failed attempt (1 s unless told) and the longest (10 min), each at most 365 days. Up to 20 %
    /// of each wait is taken off at random.
    #[must_use]
    pub fn backoff(mut self, initial: Duration, longest: Duration) -> Self {
        self.retry().initial_backoff = Some(to_duration(initial));
        self.retry().max_backoff = Some(to_duration(longest));
        self
    }

    /// By how much the wait grows from one failed attempt to the next, 1 (it stays) to 10; 2 unless told.
    #[must_use]
    pub fn backoff_factor(mut self, factor: f64) -> Self {
        self.retry().factor = factor;
        self
    }

    /// Adds ids of tasks that must complete before, at most 64, of the same namespace. They live, or ended and are kept.
    #[must_use]
    pub fn after(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.after.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Adds tasks of the same [`enqueue_all`](crate::Producer::enqueue_all) that must complete before, at most 64, by
    /// their places there, from 0; each must be less than this task's own.
    #[must_use]
    pub fn after_index(mut self, places: impl IntoIterator<Item = u32>) -> Self {
        self.0.after_index.extend(places);
        self
    }

    /// Starts it also when a task that it waits for died, was cancelled or is forgotten. Unless told it waits while that
    /// task is dead, and is cancelled with the reason `PARENT_FAILED` once that is cancelled or forgotten.
    #[must_use]
    pub fn run_after_failure(mut self) -> Self {
        self.0.run_after_failure = true;
        self
    }

    /// The message that is sent, and whether it has a fresh key, so that only a repeat of its own call can know it.
    pub(crate) fn into_wire(mut self) -> (pb::NewTask, bool) {
        let fresh = self.0.request_id.is_empty();
        if fresh {
            self.0.request_id = format!("{:032x}", rand::random::<u128>());
        }
        (self.0, fresh)
    }

    fn retry(&mut self) -> &mut pb::RetryPolicy {
        self.0.retry.get_or_insert_default()
    }
}
