//! Runs between the wire and the domain.

use nova_proto::lifecycle::v1 as pb;
use nova_types::Timestamp;

use crate::plan::{Expect, Plan};
use crate::run::{Attempt, Entry, Head, PhaseStatus, Skip, State, StepStatus, why_skipped};

/// A run without its phases and its input, which may be so large that few fit into a message.
pub(super) fn head_to_wire(head: Head) -> pb::Run {
    let state = run_state(head.end_time.map(|_| head.succeeded), head.cancelled);
    pb::Run {
        id: head.run_id.to_string(),
        namespace: head.namespace.to_string(),
        plan: head.plan,
        state: state.into(),
        create_time: Some(head.start_time.to_wire()),
        end_time: head.end_time.map(Timestamp::to_wire),
        trace_id: head.trace_id,
        phases: Vec::new(),
        actor: head.actor,
        input_json: String::new(),
        message: head.message,
    }
}

/// Bytes of errors and attempts that are told with a whole run. A plan takes at most 900 KiB and what else is told of
/// its steps less than 2 MiB: with these it stays below the 4 MiB that a message may have.
const DETAILS: usize = 1 << 20;

/// A run with its phases and steps, without results.
pub(super) fn run_to_wire(state: &State) -> pb::Run {
    let phases = (0..state.phases.len()).map(|index| phase_to_wire(state, index, state.steps_of(index)));
    let mut run = pb::Run { phases: phases.collect(), ..run_alone(state) };
    shorten(&mut run, DETAILS);
    run
}

/// A run with one step, and the result of that.
pub(super) fn run_with_step(state: &State, step: usize) -> pb::Run {
    let mut phase = phase_to_wire(state, state.steps[step].phase, [step]);
    let result = state.steps[step].result.as_ref().map(ToString::to_string);
    phase.steps[0].result_json = result.unwrap_or_default();
    pb::Run { phases: vec![phase], ..run_alone(state) }
}

/// Leaves out the errors and attempts of the steps for which no bytes are left.
fn shorten(run: &mut pb::Run, mut left: usize) {
    for step in run.phases.iter_mut().flat_map(|phase| &mut phase.steps) {
        let size = |attempt: &pb::Attempt| attempt.error.len() + attempt.agent_id.len() + ATTEMPT;
        let attempts: usize = step.attempt_log.iter().map(size).sum();
        match left.checked_sub(step.error.len() + attempts) {
            Some(rest) => left = rest,
            None => (step.error, step.attempt_log, step.shortened) = (String::new(), Vec::new(), true),
        }
    }
}

/// Bytes of an attempt beside its texts, at most.
const ATTEMPT: usize = 64;

fn run_alone(state: &State) -> pb::Run {
    let succeeded = state.end.as_ref().map(|end| end.succeeded);
    let start = &state.start;
    pb::Run {
        id: start.run_id.to_string(),
        namespace: start.namespace.to_string(),
        plan: start.plan.metadata.name.clone(),
        state: run_state(succeeded, state.is_cancelled()).into(),
        create_time: Some(state.start_time.to_wire()),
        end_time: state.end.as_ref().map(|end| end.time.to_wire()),
        trace_id: start.recorded_trace_id().to_owned(),
        phases: Vec::new(),
        actor: start.actor.clone(),
        input_json: start.input.to_string(),
        message: state.end.as_ref().map(|end| end.message.clone()).unwrap_or_default(),
    }
}

/// `succeeded` is none while the run goes on.
fn run_state(succeeded: Option<bool>, cancelled: bool) -> pb::RunState {
    match succeeded {
        None => pb::RunState::Running,
        Some(_) if cancelled => pb::RunState::Cancelled,
        Some(true) => pb::RunState::Succeeded,
        Some(false) => pb::RunState::Failed,
    }
}

/// An event of a run, with the step after it; with the run when that is `wanted`, and when the event changed more.
pub(super) fn event_to_wire(entry: &Entry, state: &State, wanted: bool) -> pb::WatchRunResponse {
    let step = entry.event.step();
    let index = step.and_then(|id| state.step_index(id));
    let phase_of_step = index.map(|index| state.phase(state.steps[index].phase).name.as_str());
    pb::WatchRunResponse {
        sequence: entry.sequence,
        time: Some(entry.time.to_wire()),
        kind: kind(entry, index, state).to_owned(),
        phase: entry.event.phase().or(phase_of_step).unwrap_or_default().to_owned(),
        step: step.map(ToString::to_string).unwrap_or_default(),
        message: entry.event.message(),
        run: (wanted || entry.event.changes_many()).then(|| run_to_wire(state)),
        step_after: index.map(|index| step_to_wire(state, index)),
    }
}

/// What happened: a step fails once, when its fallback, too, did not end well.
fn kind(entry: &Entry, step: Option<usize>, state: &State) -> &'static str {
    match step.map(|index| state.steps[index].status) {
        Some(StepStatus::FallingBack) => "step_falls_back",
        _ => entry.event.kind(),
    }
}

/// The phases of a plan that does not run.
pub(super) fn plan_to_wire(plan: &Plan) -> Vec<pb::Phase> {
    let step = |step: &crate::plan::Step| pb::Step {
        id: step.id.to_string(),
        state: pb::StepState::Pending.into(),
        expected: expected_to_wire(step.expect).into(),
        needs: step.needs.iter().map(ToString::to_string).collect(),
        queue: step.target.queue(),
        fallback: step.fallback.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..pb::Step::default()
    };
    let phase = |phase: &crate::plan::Phase| pb::Phase {
        name: phase.name.clone(),
        instructions: phase.instructions.clone(),
        agents: phase.agents.iter().map(ToString::to_string).collect(),
        steps: phase.steps.iter().map(step).collect(),
        skipped: false,
        message: String::new(),
    };
    plan.spec.phases.iter().map(phase).collect()
}

fn phase_to_wire(state: &State, index: usize, steps: impl IntoIterator<Item = usize>) -> pb::Phase {
    let spec = state.phase(index);
    pb::Phase {
        name: spec.name.clone(),
        instructions: spec.instructions.clone(),
        agents: spec.agents.iter().map(ToString::to_string).collect(),
        steps: steps.into_iter().map(|step| step_to_wire(state, step)).collect(),
        skipped: state.phases[index].status == PhaseStatus::Skipped(Skip::LeftOut)
            || state.start.skip_phases.contains(&spec.name),
        message: state.phases[index].message.clone(),
    }
}

/// A step without its result.
fn step_to_wire(state: &State, index: usize) -> pb::Step {
    let (step, spec) = (&state.steps[index], state.step(index));
    pb::Step {
        id: spec.id.to_string(),
        state: status_to_wire(step.status).into(),
        expected: expected_to_wire(spec.expect).into(),
        needs: spec.needs.iter().map(ToString::to_string).collect(),
        queue: spec.target.queue(),
        task_id: step.task_id.clone().unwrap_or_default(),
        attempts: step.attempts.last().map_or(0, |attempt| attempt.number),
        agent_id: step.agent().to_owned(),
        queue_time: step.queue_time.map(Timestamp::to_wire),
        start_time: step.attempts.first().map(|attempt| attempt.start.to_wire()),
        end_time: step.end_time.map(Timestamp::to_wire),
        result_json: String::new(),
        error: step.error.as_ref().map_or_else(|| why_skipped(state, index), ToString::to_string),
        fallback: spec.fallback.as_ref().map(ToString::to_string).unwrap_or_default(),
        attempt_log: step.attempts.iter().map(attempt_to_wire).collect(),
        shortened: false,
    }
}

fn attempt_to_wire(attempt: &Attempt) -> pb::Attempt {
    pb::Attempt {
        number: attempt.number,
        agent_id: attempt.agent.clone(),
        start_time: Some(attempt.start.to_wire()),
        end_time: attempt.end.map(Timestamp::to_wire),
        error: attempt.error.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn expected_to_wire(expect: Expect) -> pb::StepState {
    status_to_wire(expect.status())
}

fn status_to_wire(status: StepStatus) -> pb::StepState {
    match status {
        StepStatus::Pending => pb::StepState::Pending,
        StepStatus::Queued => pb::StepState::Queued,
        StepStatus::Running | StepStatus::FallingBack => pb::StepState::Running,
        StepStatus::Succeeded => pb::StepState::Succeeded,
        StepStatus::Failed => pb::StepState::Failed,
        StepStatus::FellBack => pb::StepState::FellBack,
        StepStatus::Denied => pb::StepState::Denied,
        StepStatus::Cancelled => pb::StepState::Cancelled,
        StepStatus::Skipped(_) => pb::StepState::Skipped,
    }
}
