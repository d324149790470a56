//! A collector: a call that blocks, with a deadline.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

/// Something that is asked for its part of a sample.
pub(crate) struct Collector<T> {
    name: &'static str,
    deadline: Duration,
    collect: Arc<dyn Fn() -> T + Send + Sync>,
    /// Set while a call runs, also one that nobody waits for any more.
    busy: Arc<AtomicBool>,
    late: AtomicBool,
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("name", &self.name)
            .field("late", &self.late)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Collector<T> {
    pub(crate) fn new(
        name: &'static str,
        deadline: Duration,
        collect: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let (busy, late) = (Arc::default(), AtomicBool::new(false));
        Self { name, deadline, collect: Arc::new(collect), busy, late }
    }

    /// Asks; none when there is no answer in time, or when an earlier call still hangs. At most one thread is ever held.
    pub(crate) async fn collect(&self) -> Option<T> {
        let answer = if self.busy.swap(true, Ordering::SeqCst) { None } else { self.ask().await };
        let is_late = answer.is_none();
        if self.late.swap(is_late, Ordering::SeqCst) != is_late {
            tracing::warn!(collector = self.name, is_late, "a collector changed");
        }
        answer
    }

    /// Its name and what is wrong with it, when something is.
    pub(crate) fn trouble(&self) -> Option<(String, String)> {
        let is_late = self.late.load(Ordering::SeqCst);
        is_late.then(|| {
            (format!("collector.{}", self.name), format!("late (no answer within {:?})", self.deadline))
        })
    }

    async fn ask(&self) -> Option<T> {
        let (collect, busy) = (Arc::clone(&self.collect), Busy(Arc::clone(&self.busy)));
        let call = tokio::task::spawn_blocking(move || {
            let _until_it_returns = busy;
            collect()
        });
        timeout(self.deadline, call).await.ok()?.ok()
    }
}

/// Ends with the call, also when that panics.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_collector_that_hangs_holds_nobody_up_and_is_not_asked_twice() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = std::sync::Mutex::new(hang);
        let collector = Collector::new("stuck", Duration::from_millis(20), move || {
            hang.lock().unwrap().recv().unwrap();
            7
        });
        assert_eq!(collector.collect().await, None);
        assert_eq!(collector.collect().await, None);
        assert_eq!(collector.trouble().unwrap().0, "collector.stuck");
        release.send(()).unwrap();
        release.send(()).unwrap();
        while collector.busy.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(collector.collect().await, Some(7));
        assert_eq!(collector.trouble(), None);
    }

    #[tokio::test]
    async fn a_collector_that_panics_is_asked_again() {
        let collector =
            Collector::<()>::new("broken", Duration::from_secs(5), || panic!("as the test wants"));
        assert_eq!(collector.collect().await, None);
        assert!(!collector.busy.load(Ordering::SeqCst));
    }
}
