//! What a schema cannot say of a plan: that what it names exists, that nothing waits for itself,
//! and that somebody can do each step.

use std::collections::{BTreeMap, BTreeSet};

use nova_types::{QueueName, StepId, Violations};

use super::document::Document;
use super::{Expect, Phase, Plan, Step, check_expressions, graph};

/// Steps of a plan at most.
const MAX_STEPS: usize = 10_000;

/// Checks a plan; each violation has the line of its cause.
pub(super) fn check(plan: &Plan, document: &Document<'_>) -> Result<(), Violations> {
    let mut check = Check { plan, document, steps: BTreeMap::new(), violations: Violations::new() };
    check.index();
    check.input();
    check.phases();
    for (phase, step) in plan.steps() {
        check.target(phase, step);
        check.needs(phase, step);
        check.fallback(phase, step);
    }
    check.cycles();
    if check.violations.is_empty() {
        check_expressions::check(&mut check);
    }
    check.violations.finish()
}

/// A plan under examination.
#[derive(Debug)]
pub(super) struct Check<'a> {
    pub(super) plan: &'a Plan,
    document: &'a Document<'a>,
    /// Phase and place of each step.
    pub(super) steps: BTreeMap<&'a StepId, (usize, usize)>,
    violations: Violations,
}

impl<'a> Check<'a> {
    /// Notes a violation at a field of a step.
    pub(super) fn refuse(&mut self, at: (usize, usize), field: &[&str], rule: &str) {
        let mut path = step_path(at.0, at.1);
        path.extend(field.iter().map(|&segment| segment.to_owned()));
        self.violations.push(self.document.violation(&path, rule));
    }

    fn refuse_phase(&mut self, phase: usize, field: &[&str], rule: &str) {
        let mut path = phase_path(phase);
        path.extend(field.iter().map(|&segment| segment.to_owned()));
        self.violations.push(self.document.violation(&path, rule));
    }

    fn index(&mut self) {
        let plan = self.plan;
        for (phase, spec) in plan.spec.phases.iter().enumerate() {
            for (index, step) in spec.steps.iter().enumerate() {
                if *self.steps.entry(&step.id).or_insert((phase, index)) != (phase, index) {
                    let rule = format!("id {:?} is used by more than one step", step.id.as_ref());
                    self.refuse((phase, index), &["id"], &rule);
                }
            }
        }
        if self.steps.len() > MAX_STEPS {
            self.refuse_phase(0, &[], &format!("a plan has at most {MAX_STEPS} steps"));
        }
    }

    fn input(&mut self) {
        if let Err(error) = jsonschema::validator_for(&self.plan.spec.input) {
            let path = ["spec".to_owned(), "input".to_owned()];
            self.violations.push(self.document.violation(&path, &format!("is no JSON schema: {error}")));
        }
    }

    fn phases(&mut self) {
        let phases = &self.plan.spec.phases;
        for (index, phase) in phases.iter().enumerate() {
            if self.plan.phase_index(&phase.name) != Some(index) {
                self.refuse_phase(
                    index,
                    &["name"],
                    &format!("name {:?} is used by more than one phase", phase.name),
                );
            }
            for (place, need) in phase.needs.iter().enumerate() {
                if self.plan.phase_index(need).is_none() {
                    self.refuse_phase(
                        index,
                        &["needs", &place.to_string()],
                        &format!("there is no phase {need:?}"),
                    );
                }
            }
            for (place, agent) in phase.agents.iter().enumerate() {
                if !self.plan.spec.agents.contains_key(agent) {
                    let rule = format!("there is no agent {:?} in spec.agents", agent.as_ref());
                    self.refuse_phase(index, &["agents", &place.to_string()], &rule);
                }
            }
        }
    }

    fn target(&mut self, phase: usize, step: &Step) {
        let at = self.place(step);
        let target = &step.target;
        let given = [target.capability.is_some(), target.agent.is_some(), target.queue.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            return self.refuse(at, &[], "needs exactly one of capability, agent and queue");
        }
        let phase = &self.plan.spec.phases[phase];
        if let Some(capability) = target.capability.as_ref().filter(|name| !self.provided(phase, name)) {
            let rule = format!("no agent of phase {:?} has the capability {capability:?}", phase.name);
            self.refuse(at, &["capability"], &rule);
        }
        if let Some(agent) = target.agent.as_ref().filter(|agent| !phase.agents.contains(agent)) {
            let rule = format!("agent {:?} is not one of phase {:?}", agent.as_ref(), phase.name);
            self.refuse(at, &["agent"], &rule);
        }
        if let Some(queue) = target.queue.as_ref().filter(|queue| QueueName::is_reserved(queue)) {
            let rule =
                format!("queue {queue:?} is reserved for agents: name a capability or an agent instead");
            self.refuse(at, &["queue"], &rule);
        }
    }

    fn provided(&self, phase: &Phase, capability: &str) -> bool {
        let agents = phase.agents.iter().filter_map(|agent| self.plan.spec.agents.get(agent));
        agents.flat_map(|agent| &agent.capabilities).any(|provided| provided == capability)
    }

    fn needs(&mut self, phase: usize, step: &Step) {
        let at = self.place(step);
        let before = self.plan.phases_before(phase);
        for (place, need) in step.needs.iter().enumerate() {
            let rule = match self.steps.get(need) {
                None => format!("there is no step {:?}", need.as_ref()),
                Some(found) if self.step(*found).standby => {
                    format!("{:?} is on standby: need the step that falls back to it", need.as_ref())
                }
                Some((other, _)) if *other != phase && !before.contains(other) => {
                    format!("{:?} is neither in this phase nor in one before it", need.as_ref())
                }
                Some(_) => continue,
            };
            self.refuse(at, &["needs", &place.to_string()], &rule);
        }
    }

    fn fallback(&mut self, phase: usize, step: &Step) {
        let at = self.place(step);
        if step.standby && !self.plan.steps().any(|(_, other)| other.fallback.as_ref() == Some(&step.id)) {
            self.refuse(at, &["standby"], "is on standby, and no step falls back to it");
        }
        if step.expect == Expect::FellBack && step.fallback.is_none() {
            self.refuse(at, &["expect"], "cannot fall back: it has no fallback");
        }
        let Some(fallback) = &step.fallback else { return };
        let users = self.plan.steps().filter(|(_, other)| other.fallback.as_ref() == Some(fallback)).count();
        let rule = match self.steps.get(fallback) {
            None => format!("there is no step {:?}", fallback.as_ref()),
            Some((other, _)) if *other != phase => format!("{:?} is in another phase", fallback.as_ref()),
            Some(found) if !self.step(*found).standby => {
                format!("{:?} must be marked `standby: true`", fallback.as_ref())
            }
            Some(_) if users > 1 => format!("{:?} is the fallback of {users} steps", fallback.as_ref()),
            Some(_) => return,
        };
        self.refuse(at, &["fallback"], &rule);
    }

    fn cycles(&mut self) {
        let phases = &self.plan.spec.phases;
        let phase_needs = |index: usize| {
            phases[index].needs.iter().filter_map(|name| self.plan.phase_index(name)).collect()
        };
        if let Some(cycle) = graph::cycle(phases.len(), phase_needs) {
            let names: Vec<&str> = cycle.iter().map(|index| phases[*index].name.as_str()).collect();
            self.refuse_phase(cycle[0], &["needs"], &format!("waits for itself: {}", names.join(" → ")));
        }
        let steps: Vec<&Step> = self.plan.steps().map(|(_, step)| step).collect();
        let places: BTreeMap<&StepId, usize> =
            steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
        let waits = |index: usize| {
            let needs = steps[index].needs.iter().chain(&steps[index].fallback);
            needs.filter_map(|need| places.get(need).copied()).collect::<Vec<usize>>()
        };
        if let Some(cycle) = graph::cycle(steps.len(), waits) {
            let names: Vec<&str> = cycle.iter().map(|index| steps[*index].id.as_ref()).collect();
            let at = self.place(steps[cycle[0]]);
            self.refuse(at, &[], &format!("waits for itself: {}", names.join(" → ")));
        }
    }

    /// Steps whose results are there when `step` runs: what it needs, what that needs, what it
    /// stands by for, and all of the phases before.
    pub(super) fn visible(&self, phase: usize, step: &Step) -> BTreeSet<&'a StepId> {
        let plan = self.plan;
        let before = plan.phases_before(phase);
        let mut visible: BTreeSet<&StepId> =
            plan.steps().filter(|(other, _)| before.contains(other)).map(|(_, step)| &step.id).collect();
        let mut open = vec![self.step(self.place(step))];
        while let Some(step) = open.pop() {
            let primary = plan.steps().filter(|(_, other)| other.fallback.as_ref() == Some(&step.id));
            let needs = step.needs.iter().filter_map(|need| self.steps.get(need)).map(|at| self.step(*at));
            for other in primary.map(|(_, other)| other).chain(needs) {
                if visible.insert(&other.id) {
                    open.push(other);
                }
            }
        }
        visible
    }

    fn step(&self, at: (usize, usize)) -> &'a Step {
        &self.plan.spec.phases[at.0].steps[at.1]
    }

    pub(super) fn place(&self, step: &Step) -> (usize, usize) {
        self.steps.get(&step.id).copied().unwrap_or_default()
    }
}

fn phase_path(phase: usize) -> Vec<String> {
    ["spec", "phases", &phase.to_string()].map(str::to_owned).to_vec()
}

fn step_path(phase: usize, step: usize) -> Vec<String> {
    let mut path = phase_path(phase);
    path.extend(["steps".to_owned(), step.to_string()]);
    path
}
