//! Runs, phases and steps, as tables and records show them.

use nova_proto::lifecycle::v1::{Attempt, Phase, Run, RunState, Step, StepState, WatchRunResponse};
use serde_json::{Value, json};

use crate::commands::{cells, output};

/// Prints the steps of a run by phase.
pub(crate) fn steps(run: &Run) -> anyhow::Result<()> {
    let rows = run.phases.iter().flat_map(|phase| phase.steps.iter().map(|step| row(phase, step)));
    output::table(&["PHASE", "STEP", "STATE", "ATTEMPTS", "AGENT", "TOOK", "NOTE"], rows)
}

fn row(phase: &Phase, step: &Step) -> Vec<String> {
    vec![
        phase.name.clone(),
        step.id.clone(),
        step_state(step.state()),
        if step.attempts == 0 { String::new() } else { step.attempts.to_string() },
        step.agent_id.clone(),
        cells::elapsed(step.start_time.as_ref(), step.end_time.as_ref()),
        note(phase, step),
    ]
}

/// What there is to say of a step: whether it was expected to end otherwise than well, and its error.
fn note(phase: &Phase, step: &Step) -> String {
    if phase.skipped {
        return "left out".to_owned();
    }
    if step.state() == StepState::Pending && !phase.message.is_empty() {
        return format!("waits: {}", cells::brief(&phase.message));
    }
    let expected = match (step.state(), step.expected()) {
        (_, StepState::Succeeded | StepState::Unspecified) => String::new(),
        (state, expected) if state == expected => "as expected".to_owned(),
        (state, expected) if has_ended(state) => format!("expected: {}", step_state(expected)),
        _ => String::new(),
    };
    joined(&expected, &step.error)
}

fn joined(expected: &str, error: &str) -> String {
    let parts = [expected.to_owned(), cells::brief(error)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Whether a step in this state stays in it.
pub(crate) fn has_ended(state: StepState) -> bool {
    !matches!(state, StepState::Unspecified | StepState::Pending | StepState::Queued | StepState::Running)
}

/// Brings a run to where it is after an event.
pub(crate) fn take(run: &mut Run, event: &WatchRunResponse) {
    if let Some(after) = &event.run {
        run.clone_from(after);
    } else if let Some(after) = &event.step_after {
        let mut steps = run.phases.iter_mut().flat_map(|phase| &mut phase.steps);
        if let Some(step) = steps.find(|step| step.id == after.id) {
            step.clone_from(after);
        }
    }
}

/// Whether a run goes on no more.
pub(crate) fn is_over(run: &Run) -> bool {
    matches!(run.state(), RunState::Succeeded | RunState::Failed | RunState::Cancelled)
}

/// What names a run to other commands: its id, and its namespace when that is not the default one.
pub(crate) fn name(run: &Run) -> String {
    match run.namespace.as_str() {
        "" | "default" => run.id.clone(),
        namespace => format!("{} --namespace {namespace}", run.id),
    }
}

/// The name of a run's state.
pub(crate) fn state(run: &Run) -> String {
    cells::name(run.state().as_str_name(), "RUN_STATE_")
}

/// The name of a step's state.
pub(crate) fn step_state(state: StepState) -> String {
    cells::name(state.as_str_name(), "STEP_STATE_")
}

/// A run as programs see it.
pub(crate) fn record(run: &Run) -> Value {
    json!({
        "id": run.id,
        "plan": run.plan,
        "state": state(run),
        "message": run.message,
        "create_time": cells::rfc3339(run.create_time.as_ref()),
        "end_time": cells::rfc3339(run.end_time.as_ref()),
        "trace_id": run.trace_id,
        "actor": run.actor,
        "input": (!run.input_json.is_empty()).then(|| cells::json_text(&run.input_json)),
        "phases": run.phases.iter().map(phase_record).collect::<Vec<_>>(),
    })
}

/// A phase as programs see it.
pub(crate) fn phase_record(phase: &Phase) -> Value {
    json!({
        "name": phase.name,
        "instructions": phase.instructions,
        "agents": phase.agents,
        "skipped": phase.skipped,
        "message": phase.message,
        "steps": phase.steps.iter().map(step_record).collect::<Vec<_>>(),
    })
}

/// A step as programs see it; its result is told with it alone.
pub(crate) fn step_record(step: &Step) -> Value {
    json!({
        "id": step.id,
        "state": step_state(step.state()),
        "expected": step_state(step.expected()),
        "needs": step.needs,
        "queue": step.queue,
        "task_id": step.task_id,
        "attempts": step.attempts,
        "agent_id": step.agent_id,
        "queue_time": cells::rfc3339(step.queue_time.as_ref()),
        "start_time": cells::rfc3339(step.start_time.as_ref()),
        "end_time": cells::rfc3339(step.end_time.as_ref()),
        "error": step.error,
        "shortened": step.shortened,
        "fallback": step.fallback,
        "attempt_log": step.attempt_log.iter().map(attempt_record).collect::<Vec<_>>(),
    })
}

/// A step with its result, as programs see it.
pub(crate) fn whole_step_record(phase: &Phase, step: &Step) -> Value {
    let mut record = step_record(step);
    record["phase"] = phase.name.clone().into();
    record["result"] = cells::json_text(&step.result_json);
    record
}

fn attempt_record(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.number,
        "agent_id": attempt.agent_id,
        "start_time": cells::rfc3339(attempt.start_time.as_ref()),
        "end_time": cells::rfc3339(attempt.end_time.as_ref()),
        "error": attempt.error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(state: StepState, expected: StepState) -> Step {
        Step { state: state.into(), expected: expected.into(), error: "why".to_owned(), ..Step::default() }
    }

    #[test]
    fn a_note_says_whether_an_unusual_end_was_expected() {
        let phase = Phase::default();
        let denied = step(StepState::Denied, StepState::Denied);
        assert_eq!(note(&phase, &denied), "as expected: why");
        let failed = step(StepState::Failed, StepState::FellBack);
        assert_eq!(note(&phase, &failed), "expected: fell_back: why");
        let plain = step(StepState::Failed, StepState::Succeeded);
        assert_eq!(note(&phase, &plain), "why");
    }

    #[test]
    fn a_run_is_named_with_its_namespace_unless_that_is_the_default() {
        let run = |namespace: &str| Run { id: "r".into(), namespace: namespace.into(), ..Run::default() };
        assert_eq!(name(&run("default")), "r");
        assert_eq!(name(&run("team")), "r --namespace team");
    }

    #[test]
    fn a_run_follows_its_events() {
        let phase = Phase { steps: vec![Step { id: "cpu".into(), ..Step::default() }], ..Phase::default() };
        let (mut followed, run) = (Run::default(), Run { phases: vec![phase], ..Run::default() });
        take(&mut followed, &WatchRunResponse { run: Some(run), ..WatchRunResponse::default() });
        let after = Step { id: "cpu".into(), attempts: 2, ..Step::default() };
        take(
            &mut followed,
            &WatchRunResponse { step_after: Some(after.clone()), ..WatchRunResponse::default() },
        );
        assert_eq!(followed.phases[0].steps, [after]);
    }

    #[test]
    fn a_step_of_a_phase_that_was_left_out_says_so() {
        let phase = Phase { skipped: true, ..Phase::default() };
        assert_eq!(note(&phase, &step(StepState::Skipped, StepState::Succeeded)), "left out");
    }
}
