//! What attempts say of themselves while they go on, on its way from their handlers to the link.
//!
//! Progress gathers for a moment, and what comes later takes its place. A checkpoint goes at once, and who saves one waits
//! until the queue has it. What a broken stream left without an answer goes out again on the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nova_proto::queue::v1::{LeaseReport, Progress};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::Failure;
use crate::held::LeaseKey;

/// How long progress gathers.
const GATHERED: Duration = Duration::from_millis(250);
/// Largest checkpoint, bytes.
const CHECKPOINT: usize = 64 << 10;
/// Longest note, bytes.
const NOTE: usize = 256;

/// What one attempt reports. When it is dropped unconfirmed, who waits is told that the lease is lost.
#[derive(Debug, Default)]
pub(crate) struct Report {
    progress: Option<Progress>,
    checkpoint: Option<Bytes>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Report {
    /// Takes what a later one says.
    fn update(&mut self, later: Self) {
        self.progress = later.progress.or(self.progress.take());
        self.checkpoint = later.checkpoint.or(self.checkpoint.take());
        self.waiting.extend(later.waiting);
    }

    /// The queue has it.
    pub(crate) fn confirm(self) {
        for waiting in self.waiting {
            // Who does not wait any more does not want to know.
            waiting.send(()).unwrap_or_default();
        }
    }

    /// Bytes that it takes in a message, about.
    pub(crate) fn size(&self) -> usize {
        self.checkpoint.as_ref().map_or(0, Bytes::len)
    }

    pub(crate) fn to_wire(&self, key: &LeaseKey) -> LeaseReport {
        let (progress, checkpoint) = (self.progress.clone(), self.checkpoint.clone());
        LeaseReport { lease: Some(key.to_wire()), progress, checkpoint }
    }
}

/// The reports of all attempts of a worker that are still to be sent. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    reports: BTreeMap<LeaseKey, Report>,
    due: Option<Instant>,
    closed: bool,
}

impl Reports {
    /// Adds to what an attempt reports; it is to be sent within this time.
    fn put(&self, key: &LeaseKey, report: Report, within: Duration) {
        let mut pending = self.lock();
        if pending.closed {
            return;
        }
        pending.reports.entry(key.clone()).or_default().update(report);
        let due = Instant::now() + within;
        if pending.due.is_none_or(|present| due < present) {
            pending.due = Some(due);
            self.0.sooner.notify_one();
        }
    }

    /// Takes back what was sent and not answered, in the order in which it was sent: it is due again, at once.
    pub(crate) fn put_back(&self, unanswered: Vec<(LeaseKey, Report)>) {
        for (key, mut report) in unanswered.into_iter().rev() {
            let later = self.lock().reports.remove(&key);
            report.update(later.unwrap_or_default());
            self.put(&key, report, Duration::ZERO);
        }
    }

    /// Waits until something is due.
    pub(crate) async fn due(&self) {
        loop {
            let due = self.lock().due;
            match due {
                Some(due) if due <= Instant::now() => return,
                Some(due) => tokio::select! {
                    () = sleep_until(due) => return,
                    () = self.0.sooner.notified() => {}
                },
                None => self.0.sooner.notified().await,
            }
        }
    }

    /// Takes all that waits.
    pub(crate) fn take(&self) -> BTreeMap<LeaseKey, Report> {
        let mut pending = self.lock();
        pending.due = None;
        std::mem::take(&mut pending.reports)
    }

    /// Nobody sends any more: who waits is told, now and later.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        drop(self.take());
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one attempt reports with.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) key: LeaseKey,
    pub(crate) reports: Reports,
}

impl Reporter {
    /// How far the attempt is; no number counts as zero.
    pub(crate) fn progress(&self, fraction: f64, note: &str) {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        let progress = Progress { fraction, note: crate::failure::cut(note, NOTE) };
        self.reports.put(&self.key, Report { progress: Some(progress), ..Report::default() }, GATHERED);
    }

    /// Leaves this for the next attempt, and waits until the queue has it.
    pub(crate) async fn save(&self, checkpoint: Bytes) -> Result<(), Failure> {
        if checkpoint.len() > CHECKPOINT {
            let message = format!("{} bytes must be at most {CHECKPOINT}", checkpoint.len());
            return Err(Failure::permanent("CHECKPOINT_TOO_LARGE", message));
        }
        let (saved, told) = oneshot::channel();
        let report = Report { checkpoint: Some(checkpoint), waiting: vec![saved], ..Report::default() };
        self.reports.put(&self.key, report, Duration::ZERO);
        told.await.map_err(|_| Failure::new("LEASE_LOST", "the checkpoint was not saved: the lease is lost"))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn reporter() -> Reporter {
        Reporter { key: LeaseKey { task_id: "t".to_owned(), token: 1 }, reports: Reports::default() }
    }

    fn sent(reports: &Reports) -> Vec<(LeaseKey, Report)> {
        reports.take().into_iter().collect()
    }

    fn wire(report: &(LeaseKey, Report)) -> LeaseReport {
        report.1.to_wire(&report.0)
    }

    #[tokio::test]
    async fn progress_gathers_and_the_last_word_counts() {
        let reporter = reporter();
        for done in 0..100 {
            reporter.progress(f64::from(done) / 100.0, "");
        }
        assert!(reporter.reports.due().now_or_never().is_none());
        reporter.reports.due().await;
        let sent = sent(&reporter.reports);
        assert_eq!((sent.len(), wire(&sent[0]).progress.unwrap().fraction), (1, 0.99));
        assert!(reporter.reports.due().now_or_never().is_none());
    }

    #[tokio::test]
    async fn checkpoint_goes_at_once_and_resolves_when_it_is_confirmed() {
        let reporter = reporter();
        let mut save = Box::pin(reporter.save("7".into()));
        assert!(save.as_mut().now_or_never().is_none());
        reporter.reports.due().now_or_never().expect("a checkpoint is due at once");
        for (_, report) in sent(&reporter.reports) {
            report.confirm();
        }
        save.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_not_answered_goes_again_unless_something_later_was_said() {
        let reporter = reporter();
        let mut first = Box::pin(reporter.save("1".into()));
        assert!(first.as_mut().now_or_never().is_none());
        reporter.progress(0.1, "first");
        let unanswered = sent(&reporter.reports);
        let mut second = Box::pin(reporter.save("2".into()));
        assert!(second.as_mut().now_or_never().is_none());
        reporter.reports.put_back(unanswered);
        let mut again = sent(&reporter.reports);
        let said = wire(&again[0]);
        assert_eq!(said.checkpoint.as_deref(), Some(&b"2"[..]));
        assert_eq!(said.progress.unwrap().note, "first");
        again.remove(0).1.confirm();
        assert!(first.await.is_ok() && second.await.is_ok(), "what is newer stands for both");
    }

    #[tokio::test]
    async fn who_waits_is_told_when_the_lease_is_lost_or_the_worker_ends() {
        let reporter = reporter();
        let mut save = Box::pin(reporter.save("1".into()));
        assert!(save.as_mut().now_or_never().is_none());
        drop(sent(&reporter.reports));
        assert_eq!(save.await.unwrap_err().reason(), "LEASE_LOST");
        reporter.reports.close();
        assert_eq!(reporter.save("2".into()).await.unwrap_err().reason(), "LEASE_LOST");
        let large = reporter.save(vec![0; CHECKPOINT + 1].into()).await.unwrap_err();
        assert!(large.is_permanent());
    }
}
