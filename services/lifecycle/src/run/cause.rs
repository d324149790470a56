//! Why a step was not run: the first one before it that did not end as it should have.

use super::engine::{ended_well, needed_phases};
use super::event::Skip;
use super::state::{PhaseStatus, State, StepStatus};

/// Why a step was skipped, for people; empty when it was not. What an earlier one caused is told with that one,
/// as `not run: audit/cpu failed`.
pub fn why_skipped(state: &State, step: usize) -> String {
    match state.steps[step].status {
        StepStatus::Skipped(Skip::NeedFailed) => match of_step(state, step) {
            Some(cause) => format!("not run: {cause}"),
            None => format!("not run: {}", Skip::NeedFailed.why()),
        },
        StepStatus::Skipped(reason) => reason.why().to_owned(),
        _ => String::new(),
    }
}

/// Why a phase was skipped, for people.
pub(super) fn why_phase_skipped(state: &State, phase: usize, reason: Skip) -> String {
    let cause = (reason == Skip::NeedFailed).then(|| of_phase(state, phase)).flatten();
    cause.unwrap_or_else(|| reason.why().to_owned())
}

fn of_step(state: &State, step: usize) -> Option<String> {
    let record = &state.steps[step];
    let failed = record.needs.iter().find(|need| state.satisfies(**need) == Some(false));
    failed.map_or_else(|| of_phase(state, record.phase), |need| ending(state, *need))
}

fn of_phase(state: &State, phase: usize) -> Option<String> {
    let name = &state.phase(phase).name;
    match state.phases[phase].status {
        PhaseStatus::Failed => Some(format!("{name} could not begin")),
        PhaseStatus::Ended => {
            let surprise = state.steps_of(phase).find(|step| !state.as_expected(*step));
            surprise.and_then(|step| ending(state, step))
        }
        PhaseStatus::Skipped(reason @ (Skip::TimedOut | Skip::Cancelled)) => Some(reason.why().to_owned()),
        _ => {
            let mut before = needed_phases(state, phase).into_iter().filter(|need| !ended_well(state, *need));
            before.find_map(|need| of_phase(state, need))
        }
    }
}

/// How a step ended that others needed, or what kept it from running.
fn ending(state: &State, step: usize) -> Option<String> {
    let record = &state.steps[step];
    let how = match record.status {
        StepStatus::Skipped(Skip::NeedFailed) => return of_step(state, step),
        StepStatus::Failed => "failed",
        StepStatus::Denied => "was denied",
        StepStatus::Cancelled => "was cancelled",
        StepStatus::Succeeded => "succeeded against expectation",
        StepStatus::FellBack => "fell back against expectation",
        _ => "was not run",
    };
    Some(format!("{}/{} {how}", state.phase(record.phase).name, state.step(step).id))
}
