//! Phases that begin, beside all else that their run does: the node agent may be away for long, or full, and what runs
//! already goes on meanwhile. Each is a task, since one that only moved while its driver waits could hold a lock that the
//! driver needs. Dropped at any point, a phase begins anew with the next driver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::event::{Event, Start};
use super::executor::Executor;
use super::scheduler::{FIRST_WAIT, longer};

/// How long a phase may wait before the run's log says why.
const PATIENCE: Duration = Duration::from_secs(2);
/// Least time between two reasons of one phase in the log.
const BETWEEN: Duration = Duration::from_secs(60);

/// The phases of a run that begin.
#[derive(Default)]
pub(super) struct Beginning {
    phases: BTreeSet<usize>,
    tries: JoinSet<(Try, Event)>,
}

impl Beginning {
    /// Whether this phase is among them.
    pub(super) fn has(&self, phase: usize) -> bool {
        self.phases.contains(&phase)
    }

    /// All of them.
    pub(super) fn phases(&self) -> impl Iterator<Item = usize> {
        self.phases.iter().copied()
    }

    /// Begins a phase.
    pub(super) fn add(&mut self, executor: &Executor, start: &Arc<Start>, phase: usize) {
        if self.phases.insert(phase) {
            self.tries.spawn(Try::new(executor.clone(), Arc::clone(start), phase).go_on());
        }
    }

    /// Begins none any more: what was under way is ended, and does nothing afterwards.
    pub(super) async fn stop(&mut self) {
        self.tries.shutdown().await;
        self.phases.clear();
    }

    /// What comes of one: that it has begun, cannot, or why it waits. Waits for ever while there is none.
    pub(super) async fn next(&mut self) -> Event {
        let Some(tried) = self.tries.join_next().await else { return std::future::pending().await };
        let (tried, event) = tried.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        if matches!(event, Event::PhaseWaits { .. }) {
            self.tries.spawn(tried.go_on());
        } else {
            self.phases.remove(&tried.phase);
        }
        event
    }
}

/// A phase that is tried again and again.
struct Try {
    executor: Executor,
    start: Arc<Start>,
    phase: usize,
    since: Instant,
    wait: Duration,
    /// What was last said of why it waits, and when.
    told: Option<(Instant, String)>,
}

impl Try {
    fn new(executor: Executor, start: Arc<Start>, phase: usize) -> Self {
        Self { executor, start, phase, since: Instant::now(), wait: Duration::ZERO, told: None }
    }

    /// Tries until there is something to record.
    async fn go_on(mut self) -> (Self, Event) {
        loop {
            tokio::time::sleep(self.wait).await;
            let began = Instant::now();
            let why = match self.executor.begin_phase(&self.start, self.phase).await {
                Ok(event) => return (self, event),
                Err(error) => error.to_string(),
            };
            self.wait = longer(self.wait.max(FIRST_WAIT), began.elapsed());
            if self.is_news(&why) {
                tracing::warn!(run = %self.start.run_id, phase = self.phase, why, "a phase begins later");
                self.told = Some((Instant::now(), why.clone()));
                let phase = self.start.phase(self.phase).name.clone();
                return (self, Event::PhaseWaits { phase, message: why });
            }
        }
    }

    fn is_news(&self, why: &str) -> bool {
        match &self.told {
            None => self.since.elapsed() >= PATIENCE,
            Some((at, told)) => told != why && at.elapsed() >= BETWEEN,
        }
    }
}
