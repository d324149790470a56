//! The RPCs: parse, call, map. And the clients of the other daemons, [`peers`].

mod agent_messages;
mod agents;
pub(crate) mod peers;
mod run_messages;
mod session_messages;
mod sessions;
mod watch_run;
mod workflows;

use nova_proto::lifecycle::v1::agent_service_server::AgentServiceServer;
use nova_proto::lifecycle::v1::session_service_server::SessionServiceServer;
use nova_proto::lifecycle::v1::workflow_service_server::WorkflowServiceServer;
use nova_rpc::{Caller, trace};
use nova_runtime::{Routes, Runtime};
use tonic::{Response, Status};

use crate::agent::Author;
use crate::run::Scheduler;

type Answer<T> = Result<Response<T>, Status>;

/// All services of the daemon.
pub(crate) fn routes(scheduler: &Scheduler, max_watches: usize, runtime: &Runtime) -> Routes {
    let executor = scheduler.executor();
    let agents = agents::AgentRpcs::new(executor.agents.clone());
    let sessions = sessions::SessionRpcs::new(executor.sessions.clone(), executor.agents.clone());
    let workflows = workflows::WorkflowRpcs::new(scheduler.clone(), max_watches, runtime.shutdown());
    Routes::new(AgentServiceServer::new(agents))
        .add_service(SessionServiceServer::new(sessions))
        .add_service(WorkflowServiceServer::new(workflows))
}

/// The caller as the author of a move.
fn author(caller: &Caller) -> Author {
    Author { actor: caller.name().to_owned(), trace_id: trace::recorded_trace_id().unwrap_or_default() }
}
