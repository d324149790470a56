//! Agents between the wire and the domain.

use nova_proto::lifecycle::v1 as pb;
use nova_types::{AgentId, Capability, Violation, Violations, wire};

use crate::agent::{AgentRecord, AgentState, Description, Details, Transition};

/// What an agent is registered with, checked.
pub(super) fn description(request: pb::RegisterAgentRequest) -> Result<Description, Violations> {
    let mut violations = Violations::new();
    let id = violations.take(AgentId::parse("agent_id", &request.agent_id));
    violations.take(wire::text("role", &request.role, 1..=64));
    violations.take(wire::text("version", &request.version, 0..=64));
    violations.take(wire::text("framework", &request.framework, 0..=64));
    violations.take(wire::labels("metadata", &request.metadata));
    violations.require(request.capabilities.len() <= 64, "capabilities", "must be at most 64");
    for (index, name) in request.capabilities.iter().enumerate() {
        violations.take(Capability::parse(&format!("capabilities[{index}]"), name));
    }
    violations.finish()?;
    Ok(Description {
        id: id.expect("it was checked"),
        role: request.role,
        capabilities: request.capabilities,
        version: request.version,
        framework: request.framework,
        metadata: request.metadata.into_iter().collect(),
    })
}

/// Details of a state, checked.
pub(super) fn details(field: &str, details: Option<pb::StateDetails>) -> Result<Details, Violations> {
    let details = details.unwrap_or_default();
    let mut violations = Violations::new();
    violations.take(wire::text(&format!("{field}.error_code"), &details.error_code, 0..=64));
    violations.take(wire::text(&format!("{field}.message"), &details.message, 0..=4_096));
    violations.finish()?;
    Ok(Details { error_code: details.error_code, message: details.message })
}

/// A state; none when it is unspecified.
pub(super) fn state(field: &str, state: i32) -> Result<Option<AgentState>, Violation> {
    let state = pb::AgentState::try_from(state)
        .map_err(|_| Violation::new(field, format!("{state} is no state of agents")))?;
    Ok(match state {
        pb::AgentState::Unspecified => None,
        pb::AgentState::Registered => Some(AgentState::Registered),
        pb::AgentState::Starting => Some(AgentState::Starting),
        pb::AgentState::Idle => Some(AgentState::Idle),
        pb::AgentState::Active => Some(AgentState::Active),
        pb::AgentState::Draining => Some(AgentState::Draining),
        pb::AgentState::Retired => Some(AgentState::Retired),
        pb::AgentState::Error => Some(AgentState::Error),
        pb::AgentState::Unreachable => Some(AgentState::Unreachable),
    })
}

pub(super) fn state_to_wire(state: AgentState) -> pb::AgentState {
    match state {
        AgentState::Registered => pb::AgentState::Registered,
        AgentState::Starting => pb::AgentState::Starting,
        AgentState::Idle => pb::AgentState::Idle,
        AgentState::Active => pb::AgentState::Active,
        AgentState::Draining => pb::AgentState::Draining,
        AgentState::Retired => pb::AgentState::Retired,
        AgentState::Error => pb::AgentState::Error,
        AgentState::Unreachable => pb::AgentState::Unreachable,
    }
}

pub(super) fn details_to_wire(details: Details) -> pb::StateDetails {
    pb::StateDetails { error_code: details.error_code, message: details.message }
}

pub(super) fn agent_to_wire(record: AgentRecord) -> pb::Agent {
    pb::Agent {
        etag: record.etag(),
        id: record.id.to_string(),
        namespace: record.namespace.to_string(),
        role: record.role,
        capabilities: record.capabilities,
        version: record.version,
        framework: record.framework,
        metadata: record.metadata.into_iter().collect(),
        state: state_to_wire(record.state).into(),
        spiffe_id: record.spiffe_id.to_string(),
        create_time: Some(record.create_time.to_wire()),
        update_time: Some(record.update_time.to_wire()),
        heartbeat_time: record.heartbeat_time.map(nova_types::Timestamp::to_wire),
        details: Some(details_to_wire(record.details)),
    }
}

pub(super) fn transition_to_wire(transition: Transition) -> pb::AgentTransition {
    pb::AgentTransition {
        from: transition.from.map_or(pb::AgentState::Unspecified, state_to_wire).into(),
        to: state_to_wire(transition.to).into(),
        actor: transition.actor,
        details: Some(details_to_wire(transition.details)),
        time: Some(transition.time.to_wire()),
        trace_id: transition.trace_id,
    }
}
