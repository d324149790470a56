//! The stream of WatchRun: the log of a run, as it is and as it grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::try_unfold;
use nova_proto::lifecycle::v1 as pb;
use nova_rpc::Reason;
use nova_types::{RunId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::run_messages::event_to_wire;
use crate::error::Error;
use crate::run::{Entry, Runs, State, StateError};

/// Looks again after this long though nobody in this process wrote: another instance may have.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Room for so many watches at once: each holds a run's state, and a page of its log.
#[derive(Debug)]
pub(super) struct Watches {
    most: usize,
    permits: Arc<Semaphore>,
}

impl Watches {
    pub(super) fn new(most: usize) -> Self {
        Self { most, permits: Arc::new(Semaphore::new(most)) }
    }

    /// Takes the room of one watch, until it is dropped.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Error::TooManyWatches(self.most))
    }
}

/// Events of a run after a sequence number, until it has ended or the daemon drains.
pub(super) fn events(
    runs: Runs,
    run_id: RunId,
    after: u64,
    drain: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<pb::WatchRunResponse, Status>> + Send + 'static {
    let commits = runs.commits();
    let follower = Follower {
        runs,
        run_id,
        after,
        state: None,
        unsent: VecDeque::new(),
        time: Timestamp::default(),
        sent: false,
        commits,
        drain,
        _permit: permit,
    };
    try_unfold(follower, |mut follower| async move {
        let event = follower.next().await.map_err(Status::from)?;
        Ok(event.map(|event| (event, follower)))
    })
}

struct Follower {
    runs: Runs,
    run_id: RunId,
    after: u64,
    /// Without the results of steps, which nobody is told here.
    state: Option<State>,
    unsent: VecDeque<Entry>,
    /// When the last event was: one that the queue tells late is told as if it had been then.
    time: Timestamp,
    /// Whether it has said anything: its first word holds the run.
    sent: bool,
    commits: watch::Receiver<u64>,
    drain: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<pb::WatchRunResponse>, nova_rpc::Error> {
        loop {
            while let Some(entry) = self.unsent.pop_front() {
                let (run, after, first) = (self.run_id, self.after, !self.sent);
                let state = self.take(&entry).map_err(|source| Error::DamagedLog { run, source })?;
                if entry.sequence > after {
                    let mut event = event_to_wire(&entry, state, first);
                    self.time = self.time.max(entry.time);
                    event.time = Some(self.time.to_wire());
                    self.sent = true;
                    return Ok(Some(event));
                }
            }
            if self.state.as_ref().is_some_and(|state| state.end.is_some()) {
                return Ok(None);
            }
            self.commits.mark_unchanged();
            let sequence = self.state.as_ref().map_or(0, |state| state.sequence);
            self.unsent.extend(self.runs.log(self.run_id, sequence).await?.entries);
            if self.unsent.is_empty() {
                self.wait().await?;
            }
        }
    }

    fn take(&mut self, entry: &Entry) -> Result<&State, StateError> {
        match &mut self.state {
            Some(state) => state.apply(entry)?,
            none => *none = Some(State::begin(entry)?),
        }
        self.state.as_ref().ok_or(StateError::NoStart)
    }

    async fn wait(&mut self) -> Result<(), nova_rpc::Error> {
        tokio::select! {
            changed = self.commits.changed() => if changed.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            },
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = self.drain.cancelled() => {
                return Err(nova_rpc::Error::unavailable("lifecycle", "the daemon drains; watch again after the last event")
                    .with_metadata("draining", Reason::Unavailable.as_str()));
            }
        }
        Ok(())
    }
}
