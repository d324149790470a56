//! Runs of plans. A run is its log of events: [`State`] is what they add up to, [`next`] what to do
//! about it, [`observe`] what the queue's news mean. These are pure.

mod engine;
mod event;
mod fold;
mod observe;
mod roles;
mod state;

pub use engine::{Command, TaskSpec, next};
pub use event::{Entry, Event, Skip, Start, StepError};
pub use observe::{TaskPlace, TaskView, observe};
pub use state::{Attempt, End, Error, PhaseRecord, PhaseStatus, State, StepRecord, StepStatus};

#[cfg(test)]
mod tests;
