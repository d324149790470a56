//! Which agent of a phase a step is meant for.

use nova_types::AgentId;

use super::state::State;

/// The named agent, or the first of the phase with the step's capability; none for a bare queue.
pub(super) fn agent_for(state: &State, step: usize) -> Option<&AgentId> {
    let target = &state.step(step).target;
    if let Some(agent) = &target.agent {
        return Some(agent);
    }
    let capability = target.capability.as_ref()?;
    let agents = &state.start.plan.spec.agents;
    let mut candidates = state.phase(state.steps[step].phase).agents.iter();
    candidates.find(|id| agents.get(*id).is_some_and(|agent| agent.capabilities.contains(capability)))
}
