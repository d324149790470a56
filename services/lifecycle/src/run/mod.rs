//! Runs of plans. A run is its log of events.
//!
//! Pure: [`State`] is what the events add up to, [`next`] what to do about it, [`observe`] what the
//! queue's news mean, [`report()`] what to tell people. Around them: [`Runs`] keeps the logs,
//! [`Executor`] does what the engine asks for through [`Mesh`], [`drive`] joins the two for one run,
//! [`Scheduler`] has a driver for each, and [`keep_reconciled`] heals processes.

mod beginning;
mod cause;
mod driver;
mod engine;
mod event;
mod executor;
mod fold;
mod given_up;
mod log;
mod mesh;
mod observe;
mod reconciler;
mod report;
mod retention;
mod roles;
mod scheduler;
mod state;
mod store;
mod wants;
mod withdraw;

pub use cause::why_skipped;
pub use driver::drive;
pub use engine::{Command, TaskSpec, next};
pub use event::{Entry, Event, Skip, Start, StepError};
pub use executor::Executor;
pub use given_up::GivenUp;
pub use log::LogPage;
pub use mesh::{AgentProcess, Denial, Mesh, MeshError, News, ProcessView, Stored, Watch};
pub use observe::{TaskPlace, TaskView, observe};
pub use reconciler::{keep_reconciled, reconcile};
pub use report::{Evidence, report};
pub use retention::{Keep, forget_ended};
pub use scheduler::Scheduler;
pub use state::{Attempt, End, Error as StateError, PhaseRecord, PhaseStatus, State, StepRecord, StepStatus};
pub use store::{Head, Runs};
pub use wants::Wants;

#[cfg(test)]
mod tests;
