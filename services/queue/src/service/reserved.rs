//! Queues of agents are reserved: an agent runs what it finds there, so only the mesh puts it there.

use nova_rpc::Caller;
use nova_types::QueueName;

use crate::Error;

/// May do what every role may.
const ADMIN: &str = "admin";

/// Whether the caller may put tasks into these queues.
pub(super) fn may_enqueue<'a>(caller: &Caller, queues: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    check(caller, queues, "lifecycle", "put tasks into")
}

/// Whether the caller may take tasks from these queues.
pub(super) fn may_lease<'a>(caller: &Caller, queues: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    check(caller, queues, "agent", "take tasks from")
}

fn check<'a>(
    caller: &Caller,
    mut queues: impl Iterator<Item = &'a str>,
    role: &'static str,
    verb: &'static str,
) -> Result<(), Error> {
    if caller.has_role(role) || caller.has_role(ADMIN) {
        return Ok(());
    }
    match queues.find(|queue| QueueName::is_reserved(queue)) {
        Some(queue) => Err(Error::Reserved { queue: queue.to_owned(), role, verb }),
        None => Ok(()),
    }
}
