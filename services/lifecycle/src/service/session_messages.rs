//! Sessions between the wire and the domain.

use nova_proto::lifecycle::v1 as pb;
use nova_types::{AgentId, RunId, Violation, Violations};
use serde_json::{Map, Value};

use super::agent_messages::{details, details_to_wire};
use crate::session::{NewSession, SessionChange, SessionFilter, SessionRecord, SessionState};

/// Text of a context at most; what is stored may be at most as large.
const MAX_CONTEXT_TEXT: usize = 256 << 10;

pub(super) fn new_session(request: &pb::StartSessionRequest) -> Result<NewSession, Violations> {
    let mut violations = Violations::new();
    let agent_id = violations.take(AgentId::parse("agent_id", &request.agent_id));
    let run_id = violations.take(run_id(&request.run_id));
    let context = violations.take(context("context_json", &request.context_json));
    violations.finish()?;
    Ok(NewSession {
        agent_id: agent_id.expect("it was checked"),
        run_id: run_id.unwrap_or_default(),
        context: context.unwrap_or_default(),
    })
}

pub(super) fn filter(request: &pb::ListSessionsRequest) -> Result<SessionFilter, Violations> {
    let mut violations = Violations::new();
    let agent = Some(request.agent_id.as_str()).filter(|id| !id.is_empty());
    let agent_id = agent.and_then(|id| violations.take(AgentId::parse("agent_id", id)));
    let run_id = violations.take(run_id(&request.run_id));
    violations.finish()?;
    Ok(SessionFilter { agent_id, run_id: run_id.unwrap_or_default() })
}

/// What an update changes: the fields that its mask names.
pub(super) fn change(request: &pb::UpdateSessionRequest) -> Result<SessionChange, Violations> {
    let session = request.session.clone().unwrap_or_default();
    let mut change = SessionChange::default();
    let mut violations = Violations::new();
    let paths = request.update_mask.iter().flat_map(|mask| &mask.paths);
    for path in paths.take(64) {
        match path.as_str() {
            "state" => change.state = violations.take(state("session.state", session.state)),
            "context_json" => {
                change.context = violations.take(context("session.context_json", &session.context_json));
            }
            "details" => match details("session.details", session.details.clone()) {
                Ok(details) => change.details = Some(details),
                Err(nested) => nested.into_iter().for_each(|violation| violations.push(violation)),
            },
            other => violations.push(Violation::new(
                "update_mask",
                format!("{other:?} must be one of state, context_json and details"),
            )),
        }
    }
    let named = request.update_mask.as_ref().is_some_and(|mask| !mask.paths.is_empty());
    violations.require(named, "update_mask", "must name at least one field");
    violations.finish()?;
    Ok(change)
}

fn context(field: &str, text: &str) -> Result<Map<String, Value>, Violation> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    if text.len() > MAX_CONTEXT_TEXT {
        let rule = format!("{} bytes must be at most {MAX_CONTEXT_TEXT}", text.len());
        return Err(Violation::new(field, rule));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(context)) => Ok(context),
        Ok(_) => Err(Violation::new(field, "must be a JSON object")),
        Err(error) => Err(Violation::new(field, format!("must be a JSON object: {error}"))),
    }
}

fn run_id(text: &str) -> Result<String, Violation> {
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(RunId::parse("run_id", text)?.to_string())
}

fn state(field: &str, state: i32) -> Result<SessionState, Violation> {
    match pb::SessionState::try_from(state) {
        Ok(pb::SessionState::Waiting) => Ok(SessionState::Waiting),
        Ok(pb::SessionState::Processing) => Ok(SessionState::Processing),
        Ok(pb::SessionState::Paused) => Ok(SessionState::Paused),
        Ok(pb::SessionState::Completed) => Ok(SessionState::Completed),
        Ok(pb::SessionState::Error) => Ok(SessionState::Error),
        Ok(pb::SessionState::Cancelled) => Ok(SessionState::Cancelled),
        Ok(pb::SessionState::Unspecified) | Err(_) => {
            Err(Violation::new(field, format!("{state} is no state of sessions")))
        }
    }
}

fn state_to_wire(state: SessionState) -> pb::SessionState {
    match state {
        SessionState::Waiting => pb::SessionState::Waiting,
        SessionState::Processing => pb::SessionState::Processing,
        SessionState::Paused => pb::SessionState::Paused,
        SessionState::Completed => pb::SessionState::Completed,
        SessionState::Error => pb::SessionState::Error,
        SessionState::Cancelled => pb::SessionState::Cancelled,
    }
}

pub(super) fn session_to_wire(record: SessionRecord) -> pb::Session {
    pb::Session {
        etag: record.etag(),
        id: record.id.to_string(),
        namespace: record.namespace.to_string(),
        agent_id: record.agent_id.to_string(),
        run_id: record.run_id,
        state: state_to_wire(record.state).into(),
        context_json: Value::Object(record.context).to_string(),
        create_time: Some(record.create_time.to_wire()),
        update_time: Some(record.update_time.to_wire()),
        details: Some(details_to_wire(record.details)),
    }
}
