//! Where tasks live: the queue's verbs, each atomic and durable when it answers.
//!
//! Two stores keep the same promises, which `conformance` states: [`sqlite`] for a daemon of its own, and
//! [`redis`] for state that several daemons share.

#[cfg(test)]
mod conformance;
pub mod redis;
pub mod sqlite;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    error::Error,
    record::{
        Cursor, Durability, Lease, LeaseRef, LeaseRequest, NewTask, QueueStats, Receipt, Settled, Settlement,
        Task, TaskEvent, TaskFilter, TaskPage,
    },
    task::Micros,
};

/// The verbs of a queue.
///
/// Each is atomic, and durable at [`durability`](Store::durability) when it answers. On an error nothing has
/// changed, or (a reply that was lost) repeating the verb gives the answer that was lost. Dropping a call
/// midway leaves either all of its effect or none.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Stores tasks of one namespace, all or none; a known idempotency key answers its earlier task.
    async fn enqueue(&self, tasks: Vec<NewTask>) -> Result<Vec<Receipt>, Error>;

    /// Takes ready tasks, and waits up to `request.wait` for the first.
    /// A waiting call that is dropped takes nothing.
    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>, Error>;

    /// Extends leases; each answers its new end, or nothing when it is lost.
    async fn heartbeat(
        &self,
        namespace: &Arc<str>,
        leases: Vec<LeaseRef>,
        duration: Duration,
    ) -> Result<Vec<Option<Micros>>, Error>;

    /// Ends leases in one commit. A stale token changes nothing; a repeated settlement gets its first answer.
    async fn settle(&self, namespace: &Arc<str>, settlements: Vec<Settlement>)
    -> Result<Vec<Settled>, Error>;

    /// One task, payload and result included.
    async fn task(&self, namespace: &Arc<str>, id: Uuid) -> Result<Option<Task>, Error>;

    /// A page of tasks, newest first. A page may hold fewer tasks than its limit and still have a next one.
    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, Error>;

    /// Counts of every queue of a namespace, by name.
    async fn queues(&self, namespace: &Arc<str>) -> Result<Vec<QueueStats>, Error>;

    /// The newest place of the event log.
    async fn head(&self) -> Result<Cursor, Error>;

    /// Events after a place, oldest first, about `limit` of them; [`Error::CursorExpired`] when the log has
    /// passed it.
    async fn events(&self, after: Cursor, limit: usize) -> Result<Vec<TaskEvent>, Error>;

    /// Changes whenever there may be new events.
    fn news(&self) -> watch::Receiver<Cursor>;

    /// What an acknowledged change survives.
    fn durability(&self) -> Durability;
}
