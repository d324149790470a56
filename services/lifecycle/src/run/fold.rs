//! What one event changes. Total: an event that does not fit the state changes nothing.

use nova_types::Timestamp;

use super::event::{Event, Skip, StepError};
use super::given_up::{GivenUp, give_up};
use super::state::{Attempt, End, PhaseStatus, State, StepStatus};

/// Changes the state as the event says.
pub(super) fn fold(state: &mut State, time: Timestamp, event: &Event) {
    match event {
        Event::RunStarted(_) | Event::WatchOpened => {}
        Event::RunTimedOut => give_up(state, time, GivenUp::TimedOut),
        Event::RunCancelled { by } => give_up(state, time, GivenUp::Cancelled { by: by.clone() }),
        Event::RunEnded { succeeded, message } => {
            state.end = Some(End { time, succeeded: *succeeded, message: message.clone() });
        }
        _ => match (event.phase(), event.step()) {
            (Some(name), _) => {
                let Some(phase) = state.start.plan.phase_index(name) else { return };
                fold_phase(state, phase, time, event);
            }
            (None, Some(id)) => {
                let Some(step) = state.step_index(id) else { return };
                fold_step(state, step, time, event);
            }
            (None, None) => {}
        },
    }
}

fn fold_phase(state: &mut State, phase: usize, time: Timestamp, event: &Event) {
    let record = &mut state.phases[phase];
    match event {
        Event::PhaseWaits { message, .. } => record.message.clone_from(message),
        Event::PhaseStarted { sessions, .. } => {
            record.status = PhaseStatus::Running;
            record.message.clear();
            record.sessions.clone_from(sessions);
        }
        Event::PhaseSkipped { reason, .. } => {
            record.status = PhaseStatus::Skipped(*reason);
            skip_open_steps(state, phase, time, *reason);
        }
        Event::PhaseFailed { message, .. } => {
            record.status = PhaseStatus::Failed;
            record.message.clone_from(message);
            skip_open_steps(state, phase, time, Skip::NeedFailed);
        }
        Event::PhaseEnded { .. } => record.status = PhaseStatus::Ended,
        _ => {}
    }
}

fn skip_open_steps(state: &mut State, phase: usize, time: Timestamp, reason: Skip) {
    let of_phase = state.steps.iter_mut().filter(|step| step.phase == phase);
    for step in of_phase.filter(|step| !step.status.is_settled()) {
        (step.status, step.end_time) = (StepStatus::Skipped(reason), Some(time));
    }
}

fn fold_step(state: &mut State, index: usize, time: Timestamp, event: &Event) {
    match event {
        Event::StepSkipped { reason, .. } => settle(state, index, time, StepStatus::Skipped(*reason)),
        Event::StepQueued { task_id, .. } => {
            let step = &mut state.steps[index];
            step.status = StepStatus::Queued;
            step.task_id = Some(task_id.clone());
            step.queue_time = Some(time);
        }
        Event::AttemptStarted { attempt, agent, .. } => start_attempt(state, index, time, *attempt, agent),
        Event::AttemptReleased { .. } => {
            state.steps[index].attempts.pop();
            state.steps[index].status = StepStatus::Queued;
        }
        Event::AttemptFailed { attempt, error, .. } => fail_attempt(state, index, time, *attempt, error),
        Event::StepSucceeded { result, .. } => {
            state.steps[index].result = Some(result.clone());
            settle(state, index, time, StepStatus::Succeeded);
        }
        Event::StepFailed { error, .. } => fail(state, index, time, error),
        Event::StepFellBack { .. } => {
            let fallback = state.steps[index].fallback;
            state.steps[index].result = fallback.and_then(|fallback| state.steps[fallback].result.clone());
            settle(state, index, time, StepStatus::FellBack);
        }
        Event::FallbackFailed { .. } => {
            let status = failed_status(state.steps[index].error.as_ref());
            settle(state, index, time, status);
        }
        _ => {}
    }
}

fn start_attempt(state: &mut State, index: usize, time: Timestamp, number: u32, agent: &str) {
    let step = &mut state.steps[index];
    step.status = StepStatus::Running;
    close_attempt(&mut step.attempts, time);
    step.attempts.push(Attempt { number, agent: agent.to_owned(), start: time, end: None, error: None });
}

/// An attempt that nobody saw begin is noted all the same.
fn fail_attempt(state: &mut State, index: usize, time: Timestamp, number: u32, error: &StepError) {
    let step = &mut state.steps[index];
    if !step.attempts.iter().any(|attempt| attempt.number == number) {
        step.attempts.push(Attempt { number, agent: String::new(), start: time, end: None, error: None });
    }
    for attempt in step.attempts.iter_mut().filter(|attempt| attempt.number == number) {
        attempt.end = Some(time);
        attempt.error = Some(error.clone());
    }
    step.status = StepStatus::Queued;
}

fn fail(state: &mut State, index: usize, time: Timestamp, error: &StepError) {
    state.steps[index].error = Some(error.clone());
    if state.steps[index].fallback.is_some() {
        close_attempt(&mut state.steps[index].attempts, time);
        state.steps[index].status = StepStatus::FallingBack;
    } else {
        settle(state, index, time, failed_status(Some(error)));
    }
}

fn failed_status(error: Option<&StepError>) -> StepStatus {
    if error.is_some_and(StepError::is_denied) { StepStatus::Denied } else { StepStatus::Failed }
}

/// Ends a step, and the attempt that is open.
pub(super) fn settle(state: &mut State, index: usize, time: Timestamp, status: StepStatus) {
    let step = &mut state.steps[index];
    step.status = status;
    step.end_time = Some(time);
    close_attempt(&mut step.attempts, time);
}

fn close_attempt(attempts: &mut [Attempt], time: Timestamp) {
    if let Some(attempt) = attempts.last_mut() {
        attempt.end.get_or_insert(time);
    }
}
