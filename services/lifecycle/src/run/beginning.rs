//! Phases that begin, beside all else that their run does: the node agent may be away for long, and what runs already
//! goes on meanwhile. Dropped at any point, a phase begins anew with the next driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::event::{Event, Start};
use super::executor::Executor;
use super::scheduler::{FIRST_WAIT, longer};

/// The phases of a run that begin.
#[derive(Debug, Default)]
pub(super) struct Beginning<'a> {
    phases: BTreeSet<usize>,
    tries: FuturesUnordered<BoxFuture<'a, (usize, Event)>>,
}

impl<'a> Beginning<'a> {
    /// Whether this phase is among them.
    pub(super) fn has(&self, phase: usize) -> bool {
        self.phases.contains(&phase)
    }

    /// Begins a phase.
    pub(super) fn add(&mut self, executor: &'a Executor, start: &Arc<Start>, phase: usize) {
        if self.phases.insert(phase) {
            let begin = begin(executor, Arc::clone(start), phase);
            self.tries.push(begin.map(move |event| (phase, event)).boxed());
        }
    }

    /// What came of the one that is there first; waits for ever while there is none.
    pub(super) async fn next(&mut self) -> Event {
        let Some((phase, event)) = self.tries.next().await else { return std::future::pending().await };
        self.phases.remove(&phase);
        event
    }
}

/// Tries until the phase has begun, or cannot.
async fn begin(executor: &Executor, start: Arc<Start>, phase: usize) -> Event {
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        match executor.begin_phase(&start, phase).await {
            Ok(event) => return event,
            Err(error) => tracing::warn!(run = %start.run_id, phase, %error, "a phase begins later"),
        }
        wait = longer(wait, began.elapsed());
        tokio::time::sleep(wait).await;
    }
}
