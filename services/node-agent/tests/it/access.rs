//! No call is served that policy denies.

use nova_node_agent::NodeAgentDaemon;
use nova_proto::node::v1 as pb;
use nova_runtime::testing::TestServer;
use tonic::{Code, Status};

use crate::fixture::{Client, Node, config};

const METHODS: [&str; 9] = [
    "GetNode",
    "GetTelemetry",
    "StreamTelemetry",
    "StartProcess",
    "StopProcess",
    "GetProcess",
    "ListProcesses",
    "WatchProcesses",
    "StreamLogs",
];

async fn call(client: &mut Client, method: &str) -> Result<(), Status> {
    match method {
        "GetNode" => client.get_node(pb::GetNodeRequest::default()).await.map(drop),
        "GetTelemetry" => client.get_telemetry(pb::GetTelemetryRequest::default()).await.map(drop),
        "StreamTelemetry" => client.stream_telemetry(pb::StreamTelemetryRequest::default()).await.map(drop),
        "StartProcess" => client.start_process(pb::StartProcessRequest::default()).await.map(drop),
        "StopProcess" => client.stop_process(pb::StopProcessRequest::default()).await.map(drop),
        "GetProcess" => client.get_process(pb::GetProcessRequest::default()).await.map(drop),
        "ListProcesses" => client.list_processes(pb::ListProcessesRequest::default()).await.map(drop),
        "WatchProcesses" => client.watch_processes(pb::WatchProcessesRequest::default()).await.map(drop),
        "StreamLogs" => client.stream_logs(pb::StreamLogsRequest::default()).await.map(drop),
        other => panic!("{other} is no method"),
    }
}

#[tokio::test]
async fn every_call_is_denied_without_a_rule() {
    let data = tempfile::tempdir().unwrap();
    let deny = |builder: nova_runtime::testing::TestServerBuilder, method: &&str| {
        builder.deny(&format!("nova.node.v1.NodeService/{method}"))
    };
    let builder = METHODS.iter().fold(TestServer::builder(data.path()), deny);
    let server = builder.start::<NodeAgentDaemon>(config()).await.unwrap();
    let node = Node::new(server, data);
    for method in METHODS {
        let status = call(&mut node.client.clone(), method).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{method}: {status:?}");
    }
}
