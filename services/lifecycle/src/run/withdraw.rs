//! What a run that was given up leaves open is ended before its own end is recorded: what has ended has no more effects.
//! Killed in between, the next driver does all of it again.

use std::collections::BTreeSet;

use tracing::Instrument as _;

use super::executor::{Executor, run_span};
use super::given_up::GivenUp;
use super::mesh::MeshError;
use super::state::{PhaseStatus, State};
use crate::error::Error;
use crate::session::SessionFilter;

/// Sessions that are read at once.
const PAGE: usize = 100;

impl Executor {
    /// Cancels the tasks of a run that was given up, whoever holds them, and closes its sessions.
    pub(super) async fn withdraw(&self, state: &State, why: &GivenUp) -> Result<(), Error> {
        let span = tracing::info_span!("run.withdraw", otel.name = "run.withdraw", run = %state.start.run_id);
        let withdrawn = async {
            for queue in queues(state) {
                self.cancel_tasks(state, &queue, why).await?;
            }
            for phase in begun(state) {
                self.end_phase(state, phase).await?;
            }
            self.close_unrecorded(state).await
        };
        withdrawn.instrument(run_span(&state.start, span)).await
    }

    /// Closes the sessions of a phase that had not wholly begun.
    async fn close_unrecorded(&self, state: &State) -> Result<(), Error> {
        let run_id = state.start.run_id.to_string();
        let (filter, mut after) = (SessionFilter { run_id, ..SessionFilter::default() }, None);
        loop {
            let (sessions, next) = self.sessions.list(&state.start.namespace, &filter, PAGE, after).await?;
            for session in sessions.iter().filter(|session| !session.state.is_final()) {
                self.close(state, &session.id, false).await?;
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    /// By the run's label: whoever stored a task may have been killed before it recorded the task's id.
    async fn cancel_tasks(&self, state: &State, queue: &str, why: &GivenUp) -> Result<(), Error> {
        let (namespace, run_id) = (&state.start.namespace, state.start.run_id);
        match self.mesh.cancel_tasks(namespace, run_id, queue, why.skip().why()).await {
            // Nor did it take any task.
            Err(MeshError::Refused(error)) => tracing::warn!(queue, error, "a queue was not looked through"),
            cancelled => cancelled?,
        }
        Ok(())
    }
}

/// Queues in which tasks of the run may be.
fn queues(state: &State) -> BTreeSet<String> {
    begun(state).flat_map(|phase| state.steps_of(phase)).map(|step| state.step(step).target.queue()).collect()
}

/// Phases that had begun when the run was given up, or before.
fn begun(state: &State) -> impl Iterator<Item = usize> {
    (0..state.phases.len()).filter(|phase| state.phases[*phase].status == PhaseStatus::Ended)
}
