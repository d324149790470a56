//! What happens to a run. A run is the list of these, and nothing else is kept of it.

use std::collections::{BTreeMap, BTreeSet};

use nova_types::{AgentId, Namespace, RequestId, RunId, SessionId, StepId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Phase, Plan};

/// An event in its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// How far the watch of the queue had come, when the event came from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What happened.
    pub event: Event,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The run was asked for.
    RunStarted(Box<Start>),
    /// A watch of the queue stands; its cursor is the entry's.
    WatchOpened,
    /// A phase could not begin for a while, and is tried again: such as while the node runs as many processes as it may.
    PhaseWaits {
        /// Name of the phase.
        phase: String,
        /// Why.
        message: String,
    },
    /// The phase's agents were started and told their instructions.
    PhaseStarted {
        /// Name of the phase.
        phase: String,
        /// Session of each agent.
        sessions: BTreeMap<AgentId, SessionId>,
    },
    /// The phase was left out, with its steps.
    PhaseSkipped {
        /// Name of the phase.
        phase: String,
        /// Why.
        reason: Skip,
    },
    /// The phase could not begin.
    PhaseFailed {
        /// Name of the phase.
        phase: String,
        /// Why.
        message: String,
    },
    /// Every step of the phase has ended.
    PhaseEnded {
        /// Name of the phase.
        phase: String,
    },
    /// The step will not run.
    StepSkipped {
        /// Id of the step.
        step: StepId,
        /// Why.
        reason: Skip,
    },
    /// The step's task is in the queue.
    StepQueued {
        /// Id of the step.
        step: StepId,
        /// Id of its task.
        task_id: String,
    },
    /// An agent took the step.
    AttemptStarted {
        /// Id of the step.
        step: StepId,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Who took it.
        agent: String,
    },
    /// The agent gave the step back before it began; the attempt does not count.
    AttemptReleased {
        /// Id of the step.
        step: StepId,
    },
    /// The attempt failed; the queue decides whether there is another.
    AttemptFailed {
        /// Id of the step.
        step: StepId,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Why.
        error: StepError,
    },
    /// The step ended well.
    StepSucceeded {
        /// Id of the step.
        step: StepId,
        /// What it gave.
        result: Value,
    },
    /// The step's attempts are spent, or it could not be tried.
    StepFailed {
        /// Id of the step.
        step: StepId,
        /// Why.
        error: StepError,
    },
    /// The step's fallback ended well.
    StepFellBack {
        /// Id of the step that has the fallback.
        step: StepId,
    },
    /// The step's fallback did not end well either.
    FallbackFailed {
        /// Id of the step that has the fallback.
        step: StepId,
    },
    /// The longest time of the run is over; what had not ended is given up.
    RunTimedOut,
    /// Somebody asked that the run end; what had not ended is given up.
    RunCancelled {
        /// Who, a SPIFFE id; may be empty.
        by: String,
    },
    /// The run ended.
    RunEnded {
        /// Whether every step ended as the plan expects.
        succeeded: bool,
        /// Which did not; empty when all did.
        message: String,
    },
}

/// How a run begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Id of the run.
    pub run_id: RunId,
    /// Namespace that it lives in.
    pub namespace: Namespace,
    /// What to run.
    pub plan: Plan,
    /// Input, defaults filled in.
    pub input: Value,
    /// Phases to leave out.
    pub skip_phases: BTreeSet<String>,
    /// Who asked for it, a SPIFFE id.
    pub actor: String,
    /// W3C trace context in which everything of the run happens; empty when there is none.
    pub traceparent: String,
    /// Request that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl Start {
    /// What the plan says of a phase.
    pub fn phase(&self, index: usize) -> &Phase {
        &self.plan.spec.phases[index]
    }

    /// Trace of the run, 32 hex digits; empty outside of any trace.
    pub fn trace_id(&self) -> &str {
        self.traceparent.split('-').nth(1).unwrap_or_default()
    }

    /// The same where it is recorded, so that people find it; empty elsewhere.
    pub fn recorded_trace_id(&self) -> &str {
        if self.traceparent.ends_with("-00") { "" } else { self.trace_id() }
    }
}

/// Why a step does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Its phase was left out on request.
    LeftOut,
    /// Its condition was false.
    Condition,
    /// What it needs did not end as expected.
    NeedFailed,
    /// It stood by, and was not needed.
    NotNeeded,
    /// The run had no time left.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
}

/// What a failed attempt said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// Stable, for programs.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl StepError {
    /// An error with a stable reason.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }

    /// Whether policy denied what the step tried.
    pub fn is_denied(&self) -> bool {
        self.reason == "PERMISSION_DENIED"
    }
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.reason.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (reason, "") => f.write_str(reason),
            (reason, message) => write!(f, "{reason}: {message}"),
        }
    }
}

impl Skip {
    /// For people.
    pub fn why(self) -> &'static str {
        match self {
            Self::LeftOut => "left out on request",
            Self::Condition => "its condition was false",
            Self::NeedFailed => "what it needs did not end as expected",
            Self::NotNeeded => "it stood by, and was not needed",
            Self::TimedOut => "the run had no time left",
            Self::Cancelled => "the run was cancelled",
        }
    }
}

impl Event {
    /// Stable name, such as `step_queued`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RunStarted(_) => "run_started",
            Self::WatchOpened => "watch_opened",
            Self::PhaseWaits { .. } => "phase_waits",
            Self::PhaseStarted { .. } => "phase_started",
            Self::PhaseSkipped { .. } => "phase_skipped",
            Self::PhaseFailed { .. } => "phase_failed",
            Self::PhaseEnded { .. } => "phase_ended",
            Self::StepSkipped { .. } => "step_skipped",
            Self::StepQueued { .. } => "step_queued",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::AttemptReleased { .. } => "attempt_released",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::StepFailed { .. } | Self::FallbackFailed { .. } => "step_failed",
            Self::StepSucceeded { .. } => "step_succeeded",
            Self::StepFellBack { .. } => "step_fell_back",
            Self::RunTimedOut => "run_timed_out",
            Self::RunCancelled { .. } => "run_cancelled",
            Self::RunEnded { .. } => "run_ended",
        }
    }

    /// Whether it may change more than the one step that it names, or the run.
    pub fn changes_many(&self) -> bool {
        matches!(
            self,
            Self::PhaseSkipped { .. }
                | Self::PhaseFailed { .. }
                | Self::RunTimedOut
                | Self::RunCancelled { .. }
                | Self::RunEnded { .. }
        )
    }

    /// The step that it concerns.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepSkipped { step, .. }
            | Self::StepQueued { step, .. }
            | Self::AttemptStarted { step, .. }
            | Self::AttemptReleased { step }
            | Self::AttemptFailed { step, .. }
            | Self::StepSucceeded { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepFellBack { step }
            | Self::FallbackFailed { step } => Some(step),
            _ => None,
        }
    }

    /// The phase that it concerns, when it is not that of its step.
    pub fn phase(&self) -> Option<&str> {
        match self {
            Self::PhaseWaits { phase, .. }
            | Self::PhaseStarted { phase, .. }
            | Self::PhaseSkipped { phase, .. }
            | Self::PhaseFailed { phase, .. }
            | Self::PhaseEnded { phase } => Some(phase),
            _ => None,
        }
    }

    /// What to tell people, beyond the kind; may be empty.
    pub fn message(&self) -> String {
        match self {
            Self::PhaseSkipped { reason, .. } | Self::StepSkipped { reason, .. } => reason.why().to_owned(),
            Self::PhaseWaits { message, .. }
            | Self::PhaseFailed { message, .. }
            | Self::RunEnded { message, .. } => message.clone(),
            Self::RunCancelled { by } if !by.is_empty() => format!("by {by}"),
            Self::AttemptStarted { attempt, agent, .. } => format!("attempt {attempt} by {agent}"),
            Self::AttemptFailed { attempt, error, .. } => format!("attempt {attempt} failed: {error}"),
            Self::StepFailed { error, .. } => error.to_string(),
            Self::StepSucceeded { .. } => "succeeded".to_owned(),
            Self::StepFellBack { .. } => "its fallback ended well".to_owned(),
            Self::FallbackFailed { .. } => "its fallback did not end well".to_owned(),
            _ => String::new(),
        }
    }
}
