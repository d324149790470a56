//! What to do next. Pure: the same state gives the same commands, in the same order.
//!
//! Decisions that follow from the state alone are events to record; what needs the world is an
//! effect, and its outcome is recorded once it is there. Every effect may be repeated.

use std::collections::BTreeMap;

use nova_types::StepId;
use serde_json::json;

use super::event::{Event, Skip, StepError};
use super::given_up::GivenUp;
use super::state::{PhaseStatus, State, StepStatus};
use crate::expression::{self, Scope};
use crate::plan::{PlanDuration, Retry};

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a watch of the queue, so that nothing that is enqueued later is missed.
    OpenWatch,
    /// Record what follows from the state.
    Record(Vec<Event>),
    /// Start the agents of a phase, and tell them its instructions.
    BeginPhase(usize),
    /// Store the tasks of these steps.
    Enqueue(Vec<TaskSpec>),
    /// Close the sessions of a phase.
    EndPhase(usize),
    /// Let the agents go, write the report, and end the run.
    Finish {
        /// Whether every step ended as the plan expects.
        succeeded: bool,
        /// Which did not.
        message: String,
    },
}

/// The task of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// The step.
    pub step: StepId,
    /// Queue to put it in.
    pub queue: String,
    /// Kind of work.
    pub kind: String,
    /// What the handler is given: JSON.
    pub payload: Vec<u8>,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// `<run>/<step>`: the same step is the same task.
    pub request_id: String,
    /// How attempts are repeated.
    pub retry: Retry,
    /// Longest time of one attempt.
    pub timeout: Option<PlanDuration>,
}

/// What to do in this state; nothing while all that is left is to wait.
pub fn next(state: &State) -> Vec<Command> {
    if state.end.is_some() {
        return Vec::new();
    }
    if state.cursor.is_none() && !state.is_settled() {
        return vec![Command::OpenWatch];
    }
    let mut todo = Todo::default();
    (0..state.phases.len()).for_each(|phase| todo.phase(state, phase));
    todo.commands(state)
}

/// How the run ends, when every phase has.
fn finish(state: &State) -> Option<Command> {
    state.is_settled().then(|| {
        let began = state.phases.iter().all(|phase| phase.status != PhaseStatus::Failed);
        let succeeded =
            began && !state.is_cancelled() && (0..state.steps.len()).all(|index| state.as_expected(index));
        let message = if succeeded { String::new() } else { causes(state).join("; ") };
        Command::Finish { succeeded, message }
    })
}

/// Why the run did not go as the plan expects, for people: not what was skipped because of that.
fn causes(state: &State) -> Vec<String> {
    let failed_phases =
        (0..state.phases.len()).filter(|index| state.phases[*index].status == PhaseStatus::Failed);
    let phases = failed_phases.map(|index| {
        format!("phase {} could not begin: {}", state.phase(index).name, state.phases[index].message)
    });
    let given_up =
        |index: &usize| matches!(state.steps[*index].status, StepStatus::Skipped(_) | StepStatus::Cancelled);
    let at_fault = |index: &usize| !given_up(index) && !state.as_expected(*index);
    let steps = (0..state.steps.len()).filter(at_fault).map(|index| {
        let (step, status) = (state.step(index), state.steps[index].status);
        format!("step {} ended {}, expected {}", step.id, status.name(), step.expect.status().name())
    });
    phases.chain(state.given_up.as_ref().map(GivenUp::why)).chain(steps).collect()
}

#[derive(Debug, Default)]
struct Todo {
    events: Vec<Event>,
    begin: Vec<usize>,
    end: Vec<usize>,
    tasks: Vec<TaskSpec>,
}

impl Todo {
    /// Decisions first: effects are chosen again once they are recorded.
    fn commands(self, state: &State) -> Vec<Command> {
        if !self.events.is_empty() {
            return vec![Command::Record(self.events)];
        }
        let mut commands: Vec<Command> = self.end.into_iter().map(Command::EndPhase).collect();
        commands.extend(self.begin.into_iter().map(Command::BeginPhase));
        if !self.tasks.is_empty() {
            commands.push(Command::Enqueue(self.tasks));
        }
        commands.extend(finish(state));
        commands
    }

    fn phase(&mut self, state: &State, index: usize) {
        match state.phases[index].status {
            PhaseStatus::Pending => self.pending_phase(state, index),
            PhaseStatus::Running => self.running_phase(state, index),
            PhaseStatus::Ended | PhaseStatus::Failed | PhaseStatus::Skipped(_) => {}
        }
    }

    fn pending_phase(&mut self, state: &State, index: usize) {
        let phase = state.phase(index);
        let skip = |reason| Event::PhaseSkipped { phase: phase.name.clone(), reason };
        let needs = needed_phases(state, index);
        if !needs.iter().all(|need| state.phases[*need].status.is_settled()) {
            return;
        }
        if state.start.skip_phases.contains(&phase.name) {
            self.events.push(skip(Skip::LeftOut));
        } else if phase.always || needs.iter().all(|need| ended_well(state, *need)) {
            self.begin.push(index);
        } else {
            self.events.push(skip(Skip::NeedFailed));
        }
    }

    fn running_phase(&mut self, state: &State, phase: usize) {
        let mut open = false;
        let mut standing_by = Vec::new();
        for index in state.steps_of(phase) {
            let step = &state.steps[index];
            match step.status {
                StepStatus::Pending if stands_by(state, index) => standing_by.push(index),
                StepStatus::Pending => self.pending_step(state, index),
                StepStatus::FallingBack => self.falling_back(state, index),
                _ => {}
            }
            open |= !step.status.is_settled() && !stands_by(state, index);
        }
        if !open {
            let id = |index: usize| state.step(index).id.clone();
            let skip = |index| Event::StepSkipped { step: id(index), reason: Skip::NotNeeded };
            if standing_by.is_empty() {
                self.end.push(phase);
            }
            self.events.extend(standing_by.into_iter().map(skip));
        }
    }

    fn pending_step(&mut self, state: &State, index: usize) {
        let needs = state.steps[index].needs.iter().map(|need| state.satisfies(*need));
        let step = state.step(index).id.clone();
        match needs.collect::<Option<Vec<bool>>>() {
            None => {}
            Some(satisfied) if satisfied.contains(&false) => {
                self.events.push(Event::StepSkipped { step, reason: Skip::NeedFailed });
            }
            Some(_) => match task(state, index) {
                Ok(Some(task)) => self.tasks.push(task),
                Ok(None) => self.events.push(Event::StepSkipped { step, reason: Skip::Condition }),
                Err(why) => {
                    let error = StepError::new("EXPRESSION_FAILED", why.to_string());
                    self.events.push(Event::StepFailed { step, error });
                }
            },
        }
    }

    fn falling_back(&mut self, state: &State, index: usize) {
        let Some(fallback) = state.steps[index].fallback else { return };
        let step = state.step(index).id.clone();
        match state.steps[fallback].status {
            StepStatus::Succeeded | StepStatus::FellBack => self.events.push(Event::StepFellBack { step }),
            status if status.is_settled() => self.events.push(Event::FallbackFailed { step }),
            _ => {}
        }
    }
}

/// Phases that must have ended before a phase begins.
pub(super) fn needed_phases(state: &State, phase: usize) -> Vec<usize> {
    let needs = state.phase(phase).needs.iter();
    needs.filter_map(|name| state.start.plan.phase_index(name)).collect()
}

/// Whether those that need a phase may begin. One that was left out stands for those that it needs.
pub(super) fn ended_well(state: &State, phase: usize) -> bool {
    match state.phases[phase].status {
        PhaseStatus::Skipped(Skip::LeftOut) => {
            needed_phases(state, phase).into_iter().all(|need| ended_well(state, need))
        }
        PhaseStatus::Ended => state.steps_of(phase).all(|index| state.as_expected(index)),
        _ => false,
    }
}

/// Whether a step is a fallback that nobody has asked for yet.
fn stands_by(state: &State, index: usize) -> bool {
    let primary = state.steps[index].primary.map(|primary| state.steps[primary].status);
    state.step(index).standby && primary != Some(StepStatus::FallingBack)
}

/// The task of a step whose needs are met; none when its condition is false.
fn task(state: &State, index: usize) -> Result<Option<TaskSpec>, expression::Error> {
    let step = state.step(index);
    if let Some(condition) = &step.when
        && !expression::holds(condition, &scope(state, [condition.as_str()]))?
    {
        return Ok(None);
    }
    let sources = expression::expressions_in(&step.with);
    let scope = scope(state, sources.iter().map(|(_, source)| source.as_str()));
    let with = expression::render(&step.with, &scope)?;
    let run = state.start.run_id.to_string();
    let phase = state.phase(state.steps[index].phase);
    let payload = json!({
        "run": run, "step": step.id, "phase": phase.name, "instructions": phase.instructions,
        "with": with, "inputs": inputs(state, index),
    });
    Ok(Some(TaskSpec {
        queue: step.target.queue(),
        kind: step.kind.clone(),
        payload: payload.to_string().into_bytes(),
        metadata: metadata(state, index, &run),
        request_id: format!("{run}/{}", step.id),
        retry: step.retry.clone(),
        timeout: step.timeout,
        step: step.id.clone(),
    }))
}

/// Results of the steps that a step needs.
fn inputs(state: &State, index: usize) -> BTreeMap<&str, &serde_json::Value> {
    let needs = state.steps[index].needs.iter();
    needs
        .filter_map(|need| Some((state.step(*need).id.as_ref(), state.steps[*need].result.as_ref()?)))
        .collect()
}

fn metadata(state: &State, index: usize, run: &str) -> BTreeMap<String, String> {
    let phase_index = state.steps[index].phase;
    let mut metadata = BTreeMap::from([
        ("run".to_owned(), run.to_owned()),
        ("step".to_owned(), state.step(index).id.to_string()),
        ("phase".to_owned(), state.phase(phase_index).name.clone()),
        ("plan".to_owned(), state.start.plan.metadata.name.clone()),
    ]);
    let sessions = &state.phases[phase_index].sessions;
    let session = super::roles::agent_for(state, index).and_then(|agent| sessions.get(agent));
    metadata.extend(session.map(|session| ("session".to_owned(), session.to_string())));
    metadata
}

/// What expressions see: of the steps, only those that they name.
fn scope<'a>(state: &State, sources: impl IntoIterator<Item = &'a str>) -> Scope {
    let named = sources.into_iter().flat_map(expression::steps_in);
    let view = |name: String| {
        let index = state.step_index(&StepId::parse("step", &name).ok()?)?;
        let step = &state.steps[index];
        Some((name, json!({"state": step.status.name(), "result": step.result, "error": step.error})))
    };
    Scope {
        input: state.start.input.clone(),
        run: json!({"id": state.start.run_id, "plan": state.start.plan.metadata.name}),
        steps: named.filter_map(view).collect(),
    }
}
