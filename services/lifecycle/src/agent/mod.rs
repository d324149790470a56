//! Agents: who they are, where they stand, and every move that they made.

mod detector;
mod history;
mod record;
mod registry;
mod state;

use std::collections::BTreeMap;

use nova_types::AgentId;

pub use detector::{detect, watch_over};
pub use record::{AgentRecord, Details, Transition};
pub use registry::{AgentPage, Agents};
pub use state::AgentState;

/// What an agent is registered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Id.
    pub id: AgentId,
    /// What it is for.
    pub role: String,
    /// Queues that it works on.
    pub capabilities: Vec<String>,
    /// Version.
    pub version: String,
    /// Framework that drives it.
    pub framework: String,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
}

/// Who moves an agent, and in which trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// SPIFFE id.
    pub actor: String,
    /// 32 hex digits; empty outside of any trace.
    pub trace_id: String,
}
