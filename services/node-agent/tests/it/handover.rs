//! What a process is handed on its standard input.

use nova_node_agent::{Config, NodeAgentDaemon};
use nova_proto::node::v1::{ProcessSpec, ProcessState};
use nova_runtime::Handoff;
use nova_runtime::testing::TestServer;
use tonic::Code;

use crate::fixture::{Node, config, script};
use crate::identity;

#[tokio::test]
async fn an_agents_process_reads_one_line_with_a_token_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let builder = TestServer::builder(data.path()).endpoints(identity::serve().await);
    let runner = ["/bin/sh", "-c", "read -r line; printf '%s\\n' \"$line\"; echo \"$0 $1\"", "runner"];
    let config = Config { runner_command: runner.map(str::to_owned).to_vec(), ..config() };
    let node = Node::new(builder.start::<NodeAgentDaemon>(config).await.unwrap(), data);
    let spec = ProcessSpec {
        process_id: "agent-orion".to_owned(),
        program: "nova-runner".to_owned(),
        args: vec!["argument".to_owned()],
        agent_id: "orion".to_owned(),
        ..ProcessSpec::default()
    };
    node.run(spec).await.unwrap();
    let lines = node.lines("agent-orion", 10, true).await;
    let handoff: Handoff = serde_json::from_str(lines[0].trim_start_matches("stdout: ")).unwrap();
    assert_eq!(handoff.subject, "agent/orion");
    assert_eq!(handoff.join_token, "token for agent/orion");
    assert_eq!(lines[1], "stdout: runner argument");
}

#[tokio::test]
async fn without_a_token_no_process_is_started() {
    let node = Node::start().await;
    let spec = ProcessSpec { agent_id: "orion".to_owned(), ..script("a", "exit 0") };
    let mut request = tonic::Request::new(nova_proto::node::v1::StartProcessRequest { spec: Some(spec) });
    request.set_timeout(std::time::Duration::from_millis(300));
    let status = node.client.clone().start_process(request).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    assert_eq!(node.get("a").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_process_without_agent_has_an_empty_input_that_stays_open() {
    let node = Node::start().await;
    node.run(script("a", "read line && echo got; echo end")).await.unwrap();
    let process = node.stop("a", std::time::Duration::from_secs(20)).await.unwrap();
    assert_eq!((process.state(), process.signal), (ProcessState::Exited, 15));
    assert!(node.lines("a", 10, false).await.is_empty());
}
