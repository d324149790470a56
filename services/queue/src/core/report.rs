//! Reports on attempts that go on, and what attempts leave behind when they end.

use std::{sync::Arc, time::Duration};

use crate::{
    core::{
        Core,
        entry::{Entry, Row, row_of},
    },
    record::{Beat, LeaseRef, Report},
    task::{Failure, Micros, State},
    trail::Attempt,
};

impl Core {
    /// Extends a lease and takes what its worker says of the attempt, which goes into the batch; of a stale
    /// token nothing is taken.
    pub fn report(
        &mut self,
        namespace: &str,
        report: &Report,
        duration: Option<Duration>,
        now: Micros,
    ) -> Beat {
        let beat = self.beat(namespace, report.lease, duration, now);
        if matches!(beat, Beat::Until(_)) && (report.progress.is_some() || report.checkpoint.is_some()) {
            self.take_report(row_of(report.lease.id), report);
        }
        beat
    }

    fn take_report(&mut self, row: Row, report: &Report) {
        let Some(mut entry) = self.entries.take(row, &self.queues) else { return };
        let trail = Arc::make_mut(entry.status.trail.get_or_insert_default());
        if let Some(progress) = &report.progress {
            trail.progress = Some(progress.clone());
        }
        if let Some(checkpoint) = &report.checkpoint {
            trail.checkpoint = u32::try_from(checkpoint.len()).unwrap_or(u32::MAX);
            let kept = (!checkpoint.is_empty()).then(|| Arc::clone(checkpoint));
            self.batch.checkpoints.insert(row, kept);
        }
        self.note(row, &mut entry, false);
        self.entries.put(row, entry);
    }

    /// A task is over: its checkpoint goes.
    pub(super) fn drop_checkpoint(&mut self, row: Row, entry: &Entry) {
        if entry.status.trail.as_ref().is_some_and(|trail| trail.checkpoint > 0) {
            self.batch.checkpoints.insert(row, None);
        }
    }

    /// What became of one lease that is to be extended.
    pub(super) fn beat(
        &mut self,
        namespace: &str,
        lease: LeaseRef,
        duration: Option<Duration>,
        now: Micros,
    ) -> Beat {
        match self.extend(namespace, lease, duration, now) {
            Some(end) => Beat::Until(end),
            None if self.is_cancelled(lease) => Beat::Cancelled,
            None => Beat::Lost,
        }
    }

    /// Whether a lease was lost because somebody cancelled its task.
    fn is_cancelled(&self, lease: LeaseRef) -> bool {
        self.retention.ended_by(lease).is_some_and(|ended| ended.state == State::Cancelled)
    }
}

/// Notes the end of the attempt that holds `entry`, before the hold is dropped. Of a completed one only where
/// others failed before: most tasks complete at their first attempt, and keep no history.
pub(super) fn note_attempt(entry: &mut Entry, error: Option<Arc<Failure>>, now: Micros) {
    if entry.hold.is_none() {
        return;
    }
    let status = &mut entry.status;
    if error.is_none() && status.trail.as_ref().is_none_or(|trail| trail.history.is_empty()) {
        return;
    }
    let (number, worker) = (status.attempts, Arc::clone(&status.worker));
    // A held task changes its state no more until the attempt ends.
    let attempt = Attempt { number, worker, start: status.updated, end: now, error };
    Arc::make_mut(status.trail.get_or_insert_default()).end(attempt);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{Progress, Trail};

    #[test]
    fn a_trail_is_shared_and_costs_a_status_one_pointer() {
        assert_eq!(size_of::<Option<Arc<Trail>>>(), size_of::<usize>());
        assert_eq!(Progress::new(7.0, "").millionths, 1_000_000);
    }
}
