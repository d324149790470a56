//! Calls that wait for tasks to end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;
use uuid::Uuid;

/// Most calls that wait.
const MOST: usize = 10_000;

/// Who waits for which task.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    by_task: Mutex<HashMap<Uuid, Vec<Arc<Notify>>>>,
    waiting: AtomicUsize,
}

/// A call's place; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    awaited: Arc<Awaited>,
    task: Uuid,
    told: Arc<Notify>,
}

impl Awaited {
    /// A place for one more call, taken before it looks at the task: what ends from now on is told. None when as many wait
    /// as may.
    pub(crate) fn enter(self: &Arc<Self>, task: Uuid) -> Option<Place> {
        let mut by_task = self.by_task();
        if self.waiting.load(Ordering::Relaxed) >= MOST {
            return None;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let told = Arc::new(Notify::new());
        by_task.entry(task).or_default().push(Arc::clone(&told));
        Some(Place { awaited: Arc::clone(self), task, told })
    }

    /// These have ended.
    pub(super) fn tell(&self, ended: impl Iterator<Item = Uuid>) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let by_task = self.by_task();
        for task in ended {
            by_task.get(&task).into_iter().flatten().for_each(|told| told.notify_one());
        }
    }

    /// What has ended is not known: everybody looks again.
    pub(super) fn tell_all(&self) {
        self.by_task().values().flatten().for_each(|told| told.notify_one());
    }

    fn by_task(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Notify>>>> {
        self.by_task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until there is a reason to look at the task.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_task = self.awaited.by_task();
        self.awaited.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(calls) = by_task.get_mut(&self.task) {
            calls.retain(|told| !Arc::ptr_eq(told, &self.told));
            if calls.is_empty() {
                by_task.remove(&self.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TASK: Uuid = Uuid::from_u128(1);

    #[tokio::test]
    async fn everybody_who_waits_for_a_task_is_told_and_nobody_else() {
        let awaited = Arc::<Awaited>::default();
        let [first, second] = [TASK, TASK].map(|task| awaited.enter(task).unwrap());
        let other = awaited.enter(Uuid::nil()).unwrap();
        awaited.tell([TASK].into_iter());
        first.told().await;
        second.told().await;
        assert!(tokio::time::timeout(Duration::from_millis(1), other.told()).await.is_err());
        awaited.tell_all();
        other.told().await;
    }

    #[test]
    fn who_leaves_makes_room() {
        let awaited = Arc::<Awaited>::default();
        let places: Vec<_> = (0..MOST).map(|_| awaited.enter(TASK).unwrap()).collect();
        assert!(awaited.enter(TASK).is_none());
        drop(places);
        assert!(awaited.enter(TASK).is_some() && awaited.by_task().is_empty());
    }
}
