//! What the node agent refuses.

use nova_proto::node::v1::*;
use prost::Message;
use tonic::Code;

use super::{Case, bad, fails, unknown};

macro_rules! rpc {
    ($method:literal) => {
        concat!("nova.node.v1.NodeService/", $method)
    };
}

pub(crate) fn good(rpc: &str) -> Option<Vec<u8>> {
    Some(match rpc {
        rpc!("StopProcess") => stop().encode_to_vec(),
        rpc!("GetProcess") => GetProcessRequest { process_id: id() }.encode_to_vec(),
        rpc!("StreamLogs") => logs().encode_to_vec(),
        _ => return None,
    })
}

pub(crate) fn cases() -> Vec<Case> {
    [of_specs(), of_processes()].concat()
}

fn of_specs() -> Vec<Case> {
    let one = |what: &str, spec: ProcessSpec, field: &str| {
        bad(rpc!("StartProcess"), what, &StartProcessRequest { spec: Some(spec) }, field)
    };
    let variable = |name: &str| [(name.to_owned(), "1".to_owned())].into();
    let forbidden =
        StartProcessRequest { spec: Some(ProcessSpec { program: "/bin/sh".to_owned(), ..spec() }) };
    vec![
        bad(rpc!("StartProcess"), "nothing", &StartProcessRequest::default(), "spec"),
        one("an empty spec", ProcessSpec::default(), "spec.process_id"),
        one("an id of 300 bytes", ProcessSpec { process_id: "p".repeat(300), ..spec() }, "spec.process_id"),
        one("a program on the path", ProcessSpec { program: "sh".to_owned(), ..spec() }, "spec.program"),
        one("1,025 arguments", ProcessSpec { args: vec!["a".to_owned(); 1_025], ..spec() }, "spec.args"),
        one("2 MiB", ProcessSpec { args: vec!["a".repeat(2 << 20)], ..spec() }, "spec.args[0]"),
        one("NUL", ProcessSpec { args: vec!["a\0b".to_owned()], ..spec() }, "spec.args[0]"),
        one(
            "a variable",
            ProcessSpec { environment: variable("A=B"), ..spec() },
            "spec.environment[\"A=B\"]",
        ),
        one(
            "no folder",
            ProcessSpec { working_directory: "/none".to_owned(), ..spec() },
            "spec.working_directory",
        ),
        one("restart 99", ProcessSpec { restart: 99, ..spec() }, "spec.restart"),
        one("an agent", ProcessSpec { agent_id: "An Agent".to_owned(), ..spec() }, "spec.agent_id"),
        fails(rpc!("StartProcess"), "a shell", &forbidden, Code::FailedPrecondition, "PROGRAM_NOT_ALLOWED"),
    ]
}

fn of_processes() -> Vec<Case> {
    vec![
        bad(rpc!("StopProcess"), "nothing", &StopProcessRequest::default(), "process_id"),
        unknown(rpc!("StopProcess"), &stop()),
        bad(rpc!("GetProcess"), "nothing", &GetProcessRequest::default(), "process_id"),
        unknown(rpc!("GetProcess"), &GetProcessRequest { process_id: id() }),
        bad(rpc!("StreamLogs"), "nothing", &StreamLogsRequest::default(), "process_id"),
        unknown(rpc!("StreamLogs"), &logs()),
    ]
}

fn id() -> String {
    "stranger".to_owned()
}

fn spec() -> ProcessSpec {
    ProcessSpec { process_id: id(), program: "/nonexistent".to_owned(), ..Default::default() }
}

fn stop() -> StopProcessRequest {
    StopProcessRequest { process_id: id(), grace: None }
}

fn logs() -> StreamLogsRequest {
    StreamLogsRequest { process_id: id(), ..Default::default() }
}
