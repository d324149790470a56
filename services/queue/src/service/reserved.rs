//! Queues of agents are reserved: an agent runs what it finds there, so only the mesh puts it there, and what is there for
//! one agent, no other takes.

use nova_rpc::Caller;
use nova_types::QueueName;

use crate::Error;

/// Role of the workflow engine.
const ENGINE: &str = "lifecycle";
/// Role of all agents.
const AGENT: &str = "agent";

/// Whether the caller may put tasks into these queues.
pub(super) fn may_enqueue<'a>(
    caller: &Caller,
    mut queues: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    match queues.find(|queue| QueueName::is_reserved(queue) && !caller.has_role(ENGINE)) {
        Some(queue) => Err(reserved(queue, format!("the role {ENGINE}"), "put tasks into")),
        None => Ok(()),
    }
}

/// Whether the caller may take tasks from these queues.
pub(super) fn may_lease<'a>(caller: &Caller, mut queues: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let refused = queues.find_map(|queue| Some((queue, taker_instead_of(caller, queue)?)));
    refused.map_or(Ok(()), |(queue, taker)| Err(reserved(queue, taker, "take tasks from")))
}

/// Who may take tasks from this queue, when the caller may not.
fn taker_instead_of(caller: &Caller, queue: &str) -> Option<String> {
    if !QueueName::is_reserved(queue) {
        return None;
    }
    if !caller.has_role(AGENT) {
        return Some(format!("the role {AGENT}"));
    }
    let owner = QueueName::agent_of(queue)?;
    let is_owner = caller.agent_id().is_some_and(|agent| agent.as_ref() == owner);
    (!is_owner).then(|| format!("{AGENT}/{owner}"))
}

fn reserved(queue: &str, who: String, verb: &'static str) -> Error {
    Error::Reserved { queue: queue.to_owned(), who, verb }
}
