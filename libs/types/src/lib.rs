//! Ids and validated values of the mesh.
//!
//! The wire is checked once, here: a value of one of these types obeys its rule.
//! What does not is a [`Violation`], which names the field, and states the rule.

#![warn(missing_docs)]

mod clock;
mod ids;
pub mod markdown;
mod spiffe;
mod timestamp;
mod violation;
pub mod wire;

pub use clock::{Clock, HeldClock, SystemClock};
pub use ids::{
    AgentId, Capability, DecisionId, MemoryId, Namespace, ProcessId, QueueName, RequestId, RunId,
    ScheduleName, SessionId, StepId, TaskId, TaskKind, WorkerName,
};
pub use spiffe::{SpiffeId, TrustDomain};
pub use timestamp::Timestamp;
pub use violation::{Violation, Violations, shown};
