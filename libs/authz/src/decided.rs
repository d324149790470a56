//! A decision, as it is recorded.

use std::sync::Arc;
use std::time::Duration;

use nova_types::{DecisionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Asked;

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Id that a denied caller is told.
    pub id: DecisionId,
    /// What was asked.
    pub asked: Asked,
    /// Whether the call may proceed.
    pub allow: bool,
    /// Why, in a sentence.
    pub why: String,
    /// Revision that decided.
    pub revision: String,
    /// When.
    pub time: Timestamp,
    /// How long the evaluation took; zero when the answer was remembered.
    pub elapsed: Duration,
    /// Trace that the call belongs to, 32 hex digits; empty outside of any.
    pub trace_id: String,
}

/// Decisions on their way to the policy daemon.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The decisions.
    pub decisions: Vec<Arc<Decided>>,
    /// How many had to be dropped since the batch before.
    pub dropped: u64,
}

impl Batch {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }
}
