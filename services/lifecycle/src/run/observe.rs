//! What a task's state means for its step. Pure, and blind to repeats: what is known already,
//! or older than what is known, gives no event.

use nova_types::{StepId, Timestamp};
use serde_json::Value;

use super::event::{Event, StepError};
use super::state::{State, StepRecord};

/// A task as the queue shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    /// The step that it belongs to.
    pub step: StepId,
    /// Where it is.
    pub state: TaskPlace,
    /// Attempts begun.
    pub attempts: u32,
    /// Who holds it; empty unless leased.
    pub worker: String,
    /// What the last failed attempt said.
    pub last_error: Option<StepError>,
    /// When it last changed.
    pub time: Timestamp,
}

/// Where a task is.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskPlace {
    /// Waits for a time, or for a worker.
    Waiting,
    /// A worker holds it.
    Leased,
    /// It ended with this result.
    Completed(Value),
    /// It ended without one.
    Dead,
    /// It ended on request.
    Cancelled,
}

/// Events that follow from a task's state, in order.
pub fn observe(state: &State, task: &TaskView) -> Vec<Event> {
    let Some(index) = state.step_index(&task.step) else { return Vec::new() };
    let step = &state.steps[index];
    let waits = matches!(step.status.name(), "queued" | "running") && step.task_id.is_some();
    if !waits || step.error.is_some() {
        return Vec::new();
    }
    let mut events = Vec::new();
    match &task.state {
        TaskPlace::Leased => leased(step, task, &mut events),
        TaskPlace::Waiting => waiting(step, task, &mut events),
        TaskPlace::Completed(result) => {
            missed_attempt(step, task, &mut events);
            events.push(Event::StepSucceeded { step: task.step.clone(), result: result.clone() });
        }
        TaskPlace::Dead | TaskPlace::Cancelled => {
            let error = last_error(task);
            if task.state == TaskPlace::Dead {
                failed(step, task, &error, &mut events);
            }
            events.push(Event::StepFailed { step: task.step.clone(), error });
        }
    }
    events
}

fn leased(step: &StepRecord, task: &TaskView, events: &mut Vec<Event>) {
    if task.attempts > last_number(step) {
        events.push(started(task));
    }
}

/// Between attempts: the one that was open failed, or was given back.
fn waiting(step: &StepRecord, task: &TaskView, events: &mut Vec<Event>) {
    match step.open_attempt() {
        Some(open) if task.attempts + 1 == open.number && task.time >= open.start => {
            events.push(Event::AttemptReleased { step: task.step.clone() });
        }
        _ => failed(step, task, &last_error(task), events),
    }
}

fn failed(step: &StepRecord, task: &TaskView, error: &StepError, events: &mut Vec<Event>) {
    let known = step.attempts.iter().any(|attempt| attempt.number == task.attempts && attempt.end.is_some());
    if task.attempts >= last_number(step).max(1) && !known {
        let (step, attempt) = (task.step.clone(), task.attempts);
        events.push(Event::AttemptFailed { step, attempt, error: error.clone() });
    }
}

/// The lease of the attempt that ended the task was not seen.
fn missed_attempt(step: &StepRecord, task: &TaskView, events: &mut Vec<Event>) {
    if task.attempts > last_number(step) {
        events.push(started(task));
    }
}

fn started(task: &TaskView) -> Event {
    let agent = task.worker.clone();
    Event::AttemptStarted { step: task.step.clone(), attempt: task.attempts, agent }
}

fn last_number(step: &StepRecord) -> u32 {
    step.attempts.last().map_or(0, |attempt| attempt.number)
}

fn last_error(task: &TaskView) -> StepError {
    match (&task.last_error, &task.state) {
        (_, TaskPlace::Cancelled) => StepError::new("CANCELLED", "its task was cancelled"),
        (Some(error), _) => error.clone(),
        (None, _) => StepError::new("LEASE_EXPIRED", "the agent was not heard of in time"),
    }
}
