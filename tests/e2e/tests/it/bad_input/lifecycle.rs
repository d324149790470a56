//! What lifecycle refuses.

use nova_proto::lifecycle::v1::*;
use prost::Message;
use prost_types::FieldMask;

use super::{Case, UNKNOWN, bad, unknown};

macro_rules! agents {
    ($method:literal) => {
        concat!("nova.lifecycle.v1.AgentService/", $method)
    };
}

macro_rules! sessions {
    ($method:literal) => {
        concat!("nova.lifecycle.v1.SessionService/", $method)
    };
}

macro_rules! workflows {
    ($method:literal) => {
        concat!("nova.lifecycle.v1.WorkflowService/", $method)
    };
}

/// An agent that nobody registered.
const STRANGER: &str = "stranger";

pub(crate) fn good(rpc: &str) -> Option<Vec<u8>> {
    Some(match rpc {
        agents!("RegisterAgent") => agent().encode_to_vec(),
        agents!("GetAgent") => GetAgentRequest { agent_id: id(), ..Default::default() }.encode_to_vec(),
        agents!("SetAgentState") => state(3).encode_to_vec(),
        agents!("HeartbeatAgent") => heartbeat().encode_to_vec(),
        agents!("ListAgentTransitions") => history().encode_to_vec(),
        sessions!("StartSession") => start("").encode_to_vec(),
        sessions!("UpdateSession") => update(&["state"], 2).encode_to_vec(),
        sessions!("GetSession") => session().encode_to_vec(),
        workflows!("CancelRun") => cancel().encode_to_vec(),
        workflows!("GetRun") => {
            GetRunRequest { run_id: UNKNOWN.to_owned(), ..Default::default() }.encode_to_vec()
        }
        workflows!("WatchRun") => watch().encode_to_vec(),
        workflows!("GetRunReport") => report().encode_to_vec(),
        _ => return None,
    })
}

pub(crate) fn cases() -> Vec<Case> {
    [of_agents(), of_sessions(), of_plans(), of_runs()].concat()
}

fn of_agents() -> Vec<Case> {
    let register = |what: &str, request: RegisterAgentRequest, field: &str| {
        bad(agents!("RegisterAgent"), what, &request, field)
    };
    let wordy = Some(StateDetails { error_code: "e".repeat(65), message: String::new() });
    let get = GetAgentRequest { agent_id: id(), ..Default::default() };
    vec![
        register("nothing", RegisterAgentRequest::default(), "agent_id"),
        register("a long role", RegisterAgentRequest { role: "r".repeat(300), ..agent() }, "role"),
        register("a long version", RegisterAgentRequest { version: "v".repeat(300), ..agent() }, "version"),
        register(
            "a long framework",
            RegisterAgentRequest { framework: "f".repeat(300), ..agent() },
            "framework",
        ),
        register(
            "65 capabilities",
            RegisterAgentRequest { capabilities: vec!["c".to_owned(); 65], ..agent() },
            "capabilities",
        ),
        register(
            "a bad capability",
            RegisterAgentRequest { capabilities: vec!["a b".to_owned()], ..agent() },
            "capabilities[0]",
        ),
        bad(agents!("GetAgent"), "nothing", &GetAgentRequest::default(), "agent_id"),
        unknown(agents!("GetAgent"), &get),
        bad(agents!("SetAgentState"), "nothing", &SetAgentStateRequest::default(), "agent_id"),
        bad(agents!("SetAgentState"), "no state", &state(0), "state"),
        bad(
            agents!("SetAgentState"),
            "a long code",
            &SetAgentStateRequest { details: wordy, ..state(3) },
            "details.error_code",
        ),
        unknown(agents!("SetAgentState"), &state(3)),
        bad(agents!("HeartbeatAgent"), "nothing", &HeartbeatAgentRequest::default(), "agent_id"),
        unknown(agents!("HeartbeatAgent"), &heartbeat()),
        bad(agents!("ListAgentTransitions"), "nothing", &ListAgentTransitionsRequest::default(), "agent_id"),
        unknown(agents!("ListAgentTransitions"), &history()),
    ]
}

fn of_sessions() -> Vec<Case> {
    let get = session();
    vec![
        bad(sessions!("StartSession"), "nothing", &StartSessionRequest::default(), "agent_id"),
        bad(sessions!("StartSession"), "no JSON", &start("{"), "context_json"),
        bad(sessions!("StartSession"), "no object", &start("[1]"), "context_json"),
        bad(sessions!("StartSession"), "2 MiB", &start(&large_object()), "context_json"),
        bad(sessions!("StartSession"), "deep nesting", &start(&"[".repeat(100_000)), "context_json"),
        unknown(sessions!("StartSession"), &start("")),
        bad(sessions!("UpdateSession"), "nothing", &UpdateSessionRequest::default(), "session_id"),
        bad(sessions!("UpdateSession"), "no mask", &update(&[], 2), "update_mask"),
        bad(sessions!("UpdateSession"), "a mask of another field", &update(&["agent_id"], 2), "update_mask"),
        bad(sessions!("UpdateSession"), "state 99", &update(&["state"], 99), "session.state"),
        unknown(sessions!("UpdateSession"), &update(&["state"], 2)),
        bad(sessions!("GetSession"), "nothing", &GetSessionRequest::default(), "session_id"),
        unknown(sessions!("GetSession"), &get),
    ]
}

fn of_plans() -> Vec<Case> {
    let validate = |plan: &str| ValidatePlanRequest { plan: plan.to_owned(), ..Default::default() };
    let run = |plan: &str| StartRunRequest { plan: plan.to_owned(), ..Default::default() };
    let large = "# ".repeat(1 << 20);
    let mut cases = Vec::new();
    for (what, plan) in [("nothing", ""), ("no YAML", "a: [b"), ("no plan", "[1, 2]"), ("2 MiB", &large)] {
        cases.push(bad(workflows!("ValidatePlan"), what, &validate(plan), "plan"));
        cases.push(bad(workflows!("StartRun"), what, &run(plan), "plan"));
    }
    let file_name = "f".repeat(5_000);
    cases.push(bad(
        workflows!("ValidatePlan"),
        "a long name",
        &ValidatePlanRequest { file_name: file_name.clone(), ..validate("") },
        "file_name",
    ));
    cases.push(bad(
        workflows!("StartRun"),
        "a long name",
        &StartRunRequest { file_name, ..run("") },
        "file_name",
    ));
    cases
}

fn of_runs() -> Vec<Case> {
    let get = GetRunRequest { run_id: UNKNOWN.to_owned(), ..Default::default() };
    vec![
        bad(workflows!("CancelRun"), "nothing", &CancelRunRequest::default(), "run_id"),
        unknown(workflows!("CancelRun"), &cancel()),
        bad(workflows!("GetRun"), "nothing", &GetRunRequest::default(), "run_id"),
        bad(
            workflows!("GetRun"),
            "a bad step",
            &GetRunRequest { step: "a b".to_owned(), ..get.clone() },
            "step",
        ),
        unknown(workflows!("GetRun"), &get),
        bad(workflows!("WatchRun"), "nothing", &WatchRunRequest::default(), "run_id"),
        unknown(workflows!("WatchRun"), &watch()),
        bad(workflows!("GetRunReport"), "nothing", &GetRunReportRequest::default(), "run_id"),
        unknown(workflows!("GetRunReport"), &report()),
    ]
}

fn id() -> String {
    STRANGER.to_owned()
}

fn agent() -> RegisterAgentRequest {
    RegisterAgentRequest { agent_id: "good".to_owned(), role: "tester".to_owned(), ..Default::default() }
}

fn state(state: i32) -> SetAgentStateRequest {
    SetAgentStateRequest { agent_id: id(), state, ..Default::default() }
}

fn heartbeat() -> HeartbeatAgentRequest {
    HeartbeatAgentRequest { agent_id: id(), ..Default::default() }
}

fn history() -> ListAgentTransitionsRequest {
    ListAgentTransitionsRequest { agent_id: id(), ..Default::default() }
}

fn start(context: &str) -> StartSessionRequest {
    StartSessionRequest { agent_id: id(), context_json: context.to_owned(), ..Default::default() }
}

fn large_object() -> String {
    format!("{{\"a\":\"{}\"}}", "a".repeat(2 << 20))
}

fn update(paths: &[&str], state: i32) -> UpdateSessionRequest {
    UpdateSessionRequest {
        session_id: UNKNOWN.to_owned(),
        session: Some(Session { state, ..Default::default() }),
        update_mask: Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        ..Default::default()
    }
}

fn session() -> GetSessionRequest {
    GetSessionRequest { session_id: UNKNOWN.to_owned(), ..Default::default() }
}

fn cancel() -> CancelRunRequest {
    CancelRunRequest { run_id: UNKNOWN.to_owned(), ..Default::default() }
}

fn watch() -> WatchRunRequest {
    WatchRunRequest { run_id: UNKNOWN.to_owned(), ..Default::default() }
}

fn report() -> GetRunReportRequest {
    GetRunReportRequest { run_id: UNKNOWN.to_owned(), ..Default::default() }
}
