//! A session as it is stored, its state machine, and how its context merges.

use std::fmt;

use nova_types::{AgentId, Namespace, RequestId, SessionId, Timestamp, Violation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::Details;
use crate::error::Error;

/// Largest context, in bytes of JSON.
const MAX_CONTEXT_BYTES: usize = 256 << 10;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Opened, not begun.
    Waiting,
    /// Being worked on.
    Processing,
    /// Put aside.
    Paused,
    /// Ended well.
    Completed,
    /// Ended badly.
    Error,
    /// Ended on request.
    Cancelled,
}

impl SessionState {
    /// Where a session can go from here. This is the whole table.
    pub fn legal_next(self) -> &'static [Self] {
        use SessionState::{Cancelled, Completed, Error, Paused, Processing, Waiting};
        match self {
            Waiting => &[Processing, Paused, Error, Cancelled],
            Processing => &[Paused, Completed, Error, Cancelled],
            Paused => &[Waiting, Processing, Error, Cancelled],
            Completed | Error | Cancelled => &[],
        }
    }
}

impl SessionState {
    /// Whether it is the last one.
    pub fn is_final(self) -> bool {
        self.legal_next().is_empty()
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Processing => "processing",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Id.
    pub id: SessionId,
    /// Namespace that it lives in.
    pub namespace: Namespace,
    /// Agent.
    pub agent_id: AgentId,
    /// Run that it belongs to; may be empty.
    pub run_id: String,
    /// Where it stands.
    pub state: SessionState,
    /// Details of that.
    pub details: Details,
    /// Context.
    pub context: Map<String, Value>,
    /// Grows with every change; the etag.
    pub revision: u64,
    /// When it was opened.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// Request that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

/// What to change of a session; what is none stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionChange {
    /// Next state.
    pub state: Option<SessionState>,
    /// Keys to merge into the context; null removes one.
    pub context: Option<Map<String, Value>>,
    /// Details.
    pub details: Option<Details>,
}

impl SessionRecord {
    /// The etag.
    pub fn etag(&self) -> String {
        self.revision.to_string()
    }

    /// Changes it, wholly or not at all. A state that it has already is no move.
    pub(super) fn change(&mut self, change: &SessionChange, now: Timestamp) -> Result<(), Error> {
        if let Some(to) = change.state.filter(|to| *to != self.state) {
            let legal = self.state.legal_next();
            if !legal.contains(&to) {
                return Err(Error::IllegalSessionMove { from: self.state, to, legal });
            }
            self.state = to;
        }
        if let Some(changes) = &change.context {
            merge(&mut self.context, changes);
            check_size("session.context_json", &self.context)?;
        }
        self.details = change.details.clone().unwrap_or_else(|| self.details.clone());
        self.revision += 1;
        self.update_time = now;
        Ok(())
    }
}

fn merge(context: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            context.remove(name);
        } else {
            context.insert(name.clone(), value.clone());
        }
    }
}

/// Checks that a context is not too large.
pub(super) fn check_size(field: &str, context: &Map<String, Value>) -> Result<(), Violation> {
    let size = serde_json::to_vec(context).map_or(usize::MAX, |bytes| bytes.len());
    let rule = || format!("{size} bytes must be at most {MAX_CONTEXT_BYTES}");
    if size <= MAX_CONTEXT_BYTES { Ok(()) } else { Err(Violation::new(field, rule())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_removes_and_a_value_replaces() {
        let mut context = json!({"a": 1, "b": {"c": 2}}).as_object().unwrap().clone();
        merge(&mut context, json!({"a": null, "b": 3, "d": 4}).as_object().unwrap());
        assert_eq!(Value::Object(context), json!({"b": 3, "d": 4}));
    }

    #[test]
    fn a_session_that_ended_does_not_move() {
        for ended in [SessionState::Completed, SessionState::Error, SessionState::Cancelled] {
            assert!(ended.legal_next().is_empty());
        }
    }
}
