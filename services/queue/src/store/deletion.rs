//! Deleting a queue, as the store's verb: one commit after another, until it holds nothing.

use std::sync::Arc;

use super::Store;
use crate::{
    error::Error,
    record::{Fits, QueueView, TaskFilter},
    task::State,
};

/// Tasks that one commit cancels.
const PAGE: usize = 1_000;

impl Store {
    /// Deletes a queue with what it keeps of ended tasks. With `force` what lives is cancelled before, and dead letters go as
    /// well. A call that is dropped midway leaves what it has not come to; another one goes on.
    pub(crate) async fn delete_queue(
        &self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        force: bool,
    ) -> Result<(), Error> {
        let found = self.queue(namespace, name).await?;
        let QueueView { stats, .. } = found.ok_or_else(|| Error::NoQueue(name.to_string()))?;
        if force && stats.waiting + stats.ready + stats.leased > 0 {
            self.cancel_all(namespace, name).await?;
        }
        while !self.delete_more(namespace, name, force).await? {}
        Ok(())
    }

    async fn delete_more(&self, namespace: &Arc<str>, name: &Arc<str>, force: bool) -> Result<bool, Error> {
        let (namespace, name) = (Arc::clone(namespace), Arc::clone(name));
        self.inbox.alter(move |core, now| core.delete_queue(&namespace, &name, force, now)).await
    }

    /// Cancels what lives in a queue.
    async fn cancel_all(&self, namespace: &Arc<str>, name: &Arc<str>) -> Result<(), Error> {
        let mut before = None;
        loop {
            let filter = TaskFilter {
                namespace: Arc::clone(namespace),
                queue: Some(Arc::clone(name)),
                states: vec![State::Waiting, State::Ready, State::Leased],
                before,
                limit: PAGE,
                fits: Fits::default(),
            };
            let page = self.tasks(filter).await?;
            let ids: Vec<_> = page.tasks.iter().map(|task| task.id).collect();
            self.cancel(namespace, ids, "its queue was deleted".into()).await?;
            before = page.next;
            if before.is_none() {
                return Ok(());
            }
        }
    }
}
