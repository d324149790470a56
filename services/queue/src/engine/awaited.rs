//! Calls that wait for tasks to end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::core::entry::Row;

/// Most calls that wait.
const MOST: usize = 10_000;

/// Which tasks are waited for.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    by_row: Mutex<HashMap<Row, Waiters>>,
    waiting: AtomicUsize,
}

/// Those who wait for one task.
#[derive(Debug, Default)]
struct Waiters {
    calls: usize,
    news: watch::Sender<()>,
}

/// A call's place; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    awaited: Arc<Awaited>,
    row: Row,
    news: watch::Receiver<()>,
}

impl Awaited {
    /// A place for one more call, taken before it looks at the task: what ends from now on is told. None when as many wait
    /// as may.
    pub(crate) fn enter(self: &Arc<Self>, row: Row) -> Option<Place> {
        let mut by_row = self.by_row();
        if self.waiting.load(Ordering::Relaxed) >= MOST {
            return None;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiters = by_row.entry(row).or_default();
        waiters.calls += 1;
        Some(Place { awaited: Arc::clone(self), row, news: waiters.news.subscribe() })
    }

    /// These have ended, or are forgotten.
    pub(crate) fn tell(&self, ended: impl Iterator<Item = Row>) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let by_row = self.by_row();
        ended.filter_map(|row| by_row.get(&row)).for_each(|waiters| waiters.news.send_replace(()));
    }

    /// What has ended is not known: everybody looks again.
    pub(crate) fn tell_all(&self) {
        self.by_row().values().for_each(|waiters| waiters.news.send_replace(()));
    }

    fn by_row(&self) -> MutexGuard<'_, HashMap<Row, Waiters>> {
        self.by_row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until there is a reason to look at the task.
    pub(crate) async fn told(&mut self) {
        // Its sender is there for as long as this place is.
        drop(self.news.changed().await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_row = self.awaited.by_row();
        self.awaited.waiting.fetch_sub(1, Ordering::Relaxed);
        let Some(waiters) = by_row.get_mut(&self.row) else { return };
        waiters.calls -= 1;
        if waiters.calls == 0 {
            by_row.remove(&self.row);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROW: Row = 1;

    #[tokio::test]
    async fn everybody_who_waits_for_a_task_is_told_and_nobody_else() {
        let awaited = Arc::<Awaited>::default();
        let [mut first, mut second] = [ROW, ROW].map(|row| awaited.enter(row).unwrap());
        let mut other = awaited.enter(2).unwrap();
        awaited.tell([ROW].into_iter());
        first.told().await;
        second.told().await;
        assert!(tokio::time::timeout(Duration::from_millis(1), other.told()).await.is_err());
        awaited.tell_all();
        other.told().await;
    }

    #[test]
    fn who_leaves_makes_room() {
        let awaited = Arc::<Awaited>::default();
        let places: Vec<_> = (0..MOST).map(|_| awaited.enter(ROW).unwrap()).collect();
        assert!(awaited.enter(ROW).is_none());
        drop(places);
        assert!(awaited.by_row().is_empty());
        assert!(awaited.enter(ROW).is_some());
    }
}
