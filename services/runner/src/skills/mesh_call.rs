//! `mesh.call`: tries a call of the mesh, to see what policy says of it.
//!
//! Only calls of a small list can be tried, each with a request that harms nobody where it is allowed.

use nova_client::Mesh;
use nova_proto::node::v1::{ListProcessesRequest, ProcessSpec, StartProcessRequest, StopProcessRequest};
use nova_proto::policy::v1::{ListDecisionsRequest, PolicyModule, PutPolicyRequest};
use nova_worker::Failure;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::Finding;

/// Kind of its tasks.
pub const KIND: &str = "mesh.call";

/// Name that stands for nothing, in whatever is asked for.
const NOTHING: &str = "mesh-call";

/// What a step gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The call, such as `nova.node.v1.NodeService/StartProcess`.
    method: String,
}

/// A call that policy allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallFinding {
    /// The call.
    pub method: String,
    /// True: a denied one is a failed attempt.
    pub allowed: bool,
}

/// Makes the call; one that policy denies fails for good with the reason PERMISSION_DENIED.
pub async fn call(mesh: &Mesh, input: &Input) -> Result<CallFinding, Failure> {
    match make(mesh, &input.method).await? {
        Ok(()) => Ok(CallFinding { method: input.method.clone(), allowed: true }),
        Err(status) => Err(failure(&input.method, &status)),
    }
}

async fn make(mesh: &Mesh, method: &str) -> Result<Result<(), Status>, Failure> {
    let answer = match method {
        "nova.node.v1.NodeService/StartProcess" => mesh.node().start_process(process()).await.map(drop),
        "nova.node.v1.NodeService/StopProcess" => {
            let request = StopProcessRequest { process_id: NOTHING.to_owned(), grace: None };
            mesh.node().stop_process(request).await.map(drop)
        }
        "nova.node.v1.NodeService/ListProcesses" => {
            mesh.node().list_processes(ListProcessesRequest::default()).await.map(drop)
        }
        "nova.policy.v1.PolicyService/PutPolicy" => mesh.policy().put_policy(module()).await.map(drop),
        "nova.policy.v1.PolicyService/ListDecisions" => {
            mesh.policy().list_decisions(ListDecisionsRequest::default()).await.map(drop)
        }
        other => {
            let message = format!("with.method: {other} is not one of the calls that can be tried");
            return Err(Failure::permanent("INVALID_INPUT", message));
        }
    };
    Ok(answer)
}

/// A process of a program that no node allows.
fn process() -> StartProcessRequest {
    let (process_id, program) = (NOTHING.to_owned(), format!("/nonexistent/{NOTHING}"));
    StartProcessRequest { spec: Some(ProcessSpec { process_id, program, ..ProcessSpec::default() }) }
}

/// A module that decides nothing.
fn module() -> PutPolicyRequest {
    let module = PolicyModule { id: format!("{NOTHING}.rego"), rego: "package mesh_call\n".to_owned() };
    PutPolicyRequest { module: Some(module) }
}

fn failure(method: &str, status: &Status) -> Failure {
    if status.code() != Code::PermissionDenied {
        return Failure::call(status);
    }
    let details = status.get_error_details();
    let decision = details.error_info().and_then(|info| info.metadata.get("decision_id").cloned());
    let decision = decision.unwrap_or_else(|| "without an id".to_owned());
    let message = format!("{method} is denied by decision {decision}: {}", status.message());
    Failure::permanent("PERMISSION_DENIED", message)
}

impl Finding for CallFinding {
    fn summary(&self) -> String {
        format!("policy allows this agent to call {}", self.method)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn denial_is_permanent_and_names_its_decision() {
        let metadata = HashMap::from([("decision_id".to_owned(), "d-1".to_owned())]);
        let details = ErrorDetails::with_error_info("PERMISSION_DENIED", "nova", metadata);
        let status = Status::with_error_details(Code::PermissionDenied, "no", details);
        let failure = failure("a.B/C", &status);
        assert_eq!((failure.reason(), failure.is_permanent()), ("PERMISSION_DENIED", true));
        assert_eq!(failure.message(), "a.B/C is denied by decision d-1: no");
    }

    #[test]
    fn daemon_that_is_away_is_worth_another_attempt() {
        assert!(!failure("a.B/C", &Status::unavailable("gone")).is_permanent());
    }
}
