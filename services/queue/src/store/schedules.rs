//! Schedules, as the store's verbs.

use std::sync::Arc;

use super::Store;
use crate::{
    error::Error,
    schedule::{Key, Schedule},
};

impl Store {
    /// Stores a schedule in place of one of its key; answers it as it is stored.
    pub(crate) async fn put_schedule(&self, schedule: Schedule) -> Result<Schedule, Error> {
        self.inbox.alter(move |core, now| core.put_schedule(schedule, now)).await
    }

    /// Ends a schedule.
    pub(crate) async fn delete_schedule(&self, key: Key) -> Result<(), Error> {
        self.inbox.alter(move |core, _| core.delete_schedule(&key)).await
    }

    /// A schedule.
    pub(crate) async fn schedule(&self, key: Key) -> Result<Option<Schedule>, Error> {
        self.inbox.look(move |core| core.schedule(&key)).await
    }

    /// Up to `limit` schedules of a namespace after a name, by name.
    pub(crate) async fn schedules(
        &self,
        namespace: &Arc<str>,
        after: String,
        limit: usize,
    ) -> Result<Vec<Schedule>, Error> {
        let namespace = Arc::clone(namespace);
        self.inbox.look(move |core| core.schedules_after(&namespace, &after, limit)).await
    }
}
