//! What is not good is refused, with the field that is not.

use std::time::Duration;

use nova_proto::node::v1::{
    GetProcessRequest, ProcessSpec, StartProcessRequest, StreamLogsRequest, StreamTelemetryRequest,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Node, script};

type Spoil = fn(&mut ProcessSpec);

fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.clone()).collect()
}

#[tokio::test]
async fn a_bad_spec_is_refused_and_nothing_is_started() {
    let cases: &[(&str, Spoil)] = &[
        ("spec.process_id", |spec| spec.process_id.clear()),
        ("spec.process_id", |spec| "a b/../c".clone_into(&mut spec.process_id)),
        ("spec.process_id", |spec| spec.process_id = "x".repeat(129)),
        ("spec.program", |spec| spec.program.clear()),
        ("spec.program", |spec| "sh".clone_into(&mut spec.program)),
        ("spec.program", |spec| "/bin/sh\0".clone_into(&mut spec.program)),
        ("spec.args[1]", |spec| "a\0b".clone_into(&mut spec.args[1])),
        ("spec.args", |spec| spec.args = vec![String::new(); 2_000]),
        ("spec.environment[\"1A\"]", |spec| drop(spec.environment.insert("1A".to_owned(), String::new()))),
        ("spec.environment[\"A=B\"]", |spec| drop(spec.environment.insert("A=B".to_owned(), String::new()))),
        ("spec.environment[\"A\"]", |spec| drop(spec.environment.insert("A".to_owned(), "\0".to_owned()))),
        ("spec.working_directory", |spec| "relative".clone_into(&mut spec.working_directory)),
        ("spec.working_directory", |spec| "/no/such/folder".clone_into(&mut spec.working_directory)),
        ("spec.restart", |spec| spec.restart = 99),
        ("spec.agent_id", |spec| "Not An Agent".clone_into(&mut spec.agent_id)),
        ("spec.labels", |spec| drop(spec.labels.insert(String::new(), String::new()))),
    ];
    let node = Node::start().await;
    for (field, spoil) in cases {
        let mut spec = script("a", "exit 0");
        spoil(&mut spec);
        let status = node.run(spec).await.unwrap_err();
        assert_eq!(fields(&status), [*field]);
    }
    let empty = node.client.clone().start_process(StartProcessRequest::default()).await.unwrap_err();
    assert_eq!(fields(&empty), ["spec"]);
    assert_eq!(node.get("a").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn all_bad_fields_are_told_at_once() {
    let node = Node::start().await;
    let status = node.run(ProcessSpec { restart: 99, ..ProcessSpec::default() }).await.unwrap_err();
    assert_eq!(fields(&status), ["spec.restart", "spec.process_id", "spec.program"]);
}

#[tokio::test]
async fn every_other_call_checks_its_fields_too() {
    let node = Node::start().await;
    let mut client = node.client.clone();
    let too_short = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    let status = client.stream_telemetry(StreamTelemetryRequest { interval: too_short }).await.unwrap_err();
    assert_eq!(fields(&status), ["interval"]);
    let status = client.get_process(GetProcessRequest { process_id: String::new() }).await.unwrap_err();
    assert_eq!(fields(&status), ["process_id"]);
    let request = StreamLogsRequest { process_id: String::new(), tail: 10_001, follow: false };
    assert_eq!(fields(&client.stream_logs(request).await.unwrap_err()), ["process_id", "tail"]);
    let status = node.stop("", Duration::from_secs(301)).await.unwrap_err();
    assert_eq!(fields(&status), ["process_id", "grace"]);
    let request = StreamLogsRequest { process_id: "nobody".to_owned(), tail: 0, follow: true };
    assert_eq!(client.stream_logs(request).await.unwrap_err().code(), Code::NotFound);
}
