//! A run that ends before its steps have: why, and what becomes of them.

use nova_types::Timestamp;

use super::event::{Skip, StepError};
use super::fold::settle;
use super::state::{PhaseStatus, State, StepStatus};

/// Why a run was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// Its longest time was over.
    TimedOut,
    /// Somebody asked for it.
    Cancelled {
        /// Who, a SPIFFE id; may be empty.
        by: String,
    },
}

impl GivenUp {
    /// For people.
    pub fn why(&self) -> String {
        match self {
            Self::Cancelled { by } if !by.is_empty() => format!("{} by {by}", Skip::Cancelled.why()),
            _ => self.skip().why().to_owned(),
        }
    }

    /// Why what had not begun is left out.
    pub(super) fn skip(&self) -> Skip {
        match self {
            Self::TimedOut => Skip::TimedOut,
            Self::Cancelled { .. } => Skip::Cancelled,
        }
    }

    /// How steps end whose tasks are open, and what is said of them.
    fn ending(&self) -> (StepStatus, StepError) {
        match self {
            Self::TimedOut => {
                let error = StepError::new("RUN_TIMED_OUT", "the longest time of the run is over");
                (StepStatus::Failed, error)
            }
            Self::Cancelled { .. } => (StepStatus::Cancelled, StepError::new("CANCELLED", self.why())),
        }
    }
}

/// Ends every step and phase of a run.
pub(super) fn give_up(state: &mut State, time: Timestamp, why: GivenUp) {
    let (status, error) = why.ending();
    for index in 0..state.steps.len() {
        match state.steps[index].status {
            StepStatus::Pending => settle(state, index, time, StepStatus::Skipped(why.skip())),
            StepStatus::Queued | StepStatus::Running | StepStatus::FallingBack => {
                state.steps[index].error = Some(error.clone());
                settle(state, index, time, status);
            }
            _ => {}
        }
    }
    for phase in &mut state.phases {
        phase.status = match phase.status {
            PhaseStatus::Pending => PhaseStatus::Skipped(why.skip()),
            PhaseStatus::Running => PhaseStatus::Ended,
            settled => settled,
        };
    }
    state.given_up = Some(why);
}
