//! A daemon that is killed leaves nothing behind: this test starts itself again as the daemon, and kills that.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nova_node_agent::NodeAgentDaemon;
use nova_proto::node::v1::{ListProcessesRequest, ProcessState};
use nova_runtime::testing::TestServer;

use crate::fixture::{Node, config, eventually, is_alive, script, written};

/// Tells the child what to be: a daemon with its data here.
const DATA: &str = "NOVA_TEST_NODE_DATA";

/// Does not read its input and does not listen; nor does its child.
fn stubborn(data: &Path) -> String {
    let file = |name: &str| data.join(name).display().to_string();
    let (leader, child) = (file("leader"), file("child"));
    format!(
        "trap '' TERM HUP; sleep 600 & echo $! > {child}; echo $$ > {leader}; while :; do sleep 600; done"
    )
}

/// Ends when its input does.
fn attentive(data: &Path) -> String {
    let file = |name: &str| data.join(name).display().to_string();
    format!("echo $$ > {}; cat > /dev/null; echo end > {}", file("attentive"), file("end"))
}

/// Does nothing by itself: it is the daemon of the test below.
#[tokio::test]
async fn daemon_that_is_killed() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let data = Path::new(&data);
    let server = TestServer::builder(data).start::<NodeAgentDaemon>(config()).await.unwrap();
    // Kept by the test above it: this folder is only here because a node has one.
    let node = Node::new(server, tempfile::tempdir().unwrap());
    node.run(script("stubborn", &stubborn(data))).await.unwrap();
    node.run(script("attentive", &attentive(data))).await.unwrap();
    std::future::pending::<()>().await;
}

fn daemon(data: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::daemon_that_is_killed", "--nocapture"]).env(DATA, data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_killed_daemon_leaves_no_process_behind_and_nothing_runs_twice() {
    let data = tempfile::tempdir().unwrap();
    let mut daemon = daemon(data.path());
    let read = async |name: &str| written(&data.path().join(name)).await;
    let (leader, child, attentive_pid) = (read("leader").await, read("child").await, read("attentive").await);
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    assert_eq!(read("end").await, "end");
    eventually("who holds the lifeline ends by itself", || !is_alive(&attentive_pid)).await;
    assert!(is_alive(&leader) && is_alive(&child));

    let server = TestServer::builder(data.path()).start::<NodeAgentDaemon>(config()).await.unwrap();
    assert!(!is_alive(&leader) && !is_alive(&child));
    let text = stubborn(data.path());
    let node = Node::new(server, data);
    let response = node.client.clone().list_processes(ListProcessesRequest::default()).await.unwrap();
    assert!(response.into_inner().processes.is_empty());
    assert!(!node.run(script("stubborn", &text)).await.unwrap().already_running);
    node.until("stubborn", ProcessState::Running).await;
    node.stop("stubborn", std::time::Duration::ZERO).await.unwrap();
}
