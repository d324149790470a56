//! What processes write.

use std::path::Path;

use nova_node_agent::NodeAgentDaemon;
use nova_node_agent::config::{Config, LogConfig};
use nova_proto::node::v1::{ProcessState, StreamLogsRequest};
use nova_runtime::testing::TestServer;

use crate::fixture::{Node, config, script};

#[tokio::test]
async fn both_streams_are_kept_and_the_tail_is_as_long_as_asked() {
    let node = Node::start().await;
    node.run(script("a", "echo one; echo two; echo three; exec 1>&-; echo oops >&2; printf unfinished >&2"))
        .await
        .unwrap();
    node.until("a", ProcessState::Exited).await;
    let mut lines = node.lines("a", 10, false).await;
    // Each stream is in order; between the two there is none.
    lines.sort();
    let expected = ["stderr: oops", "stderr: unfinished", "stdout: one", "stdout: three", "stdout: two"];
    assert_eq!(lines, expected);
    assert_eq!(node.lines("a", 2, false).await.len(), 2);
}

#[tokio::test]
async fn following_shows_what_is_there_then_what_comes_and_ends_with_the_process() {
    let node = Node::start().await;
    let go = node.file("go");
    let text = format!("echo before; while [ ! -e {} ]; do sleep 0.01; done; echo after", go.display());
    node.run(script("a", &text)).await.unwrap();
    let request = StreamLogsRequest { process_id: "a".to_owned(), tail: 10, follow: true };
    let mut stream = node.client.clone().stream_logs(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.stream.as_str(), first.line.as_str()), ("stdout", "before"));
    std::fs::write(go, "").unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().line, "after");
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn memory_holds_the_last_lines_and_disk_the_last_files() {
    let logs = LogConfig { ring_lines: 3, file_bytes: 4_096, rotated_files: 1, ..LogConfig::default() };
    let node = Node::with(Config { logs, ..config() }).await;
    node.run(script("a", "i=0; while [ $i -lt 1000 ]; do echo line-$i; i=$((i+1)); done")).await.unwrap();
    node.until("a", ProcessState::Exited).await;
    let expected = ["stdout: line-997", "stdout: line-998", "stdout: line-999"];
    assert_eq!(node.lines("a", 10_000, false).await, expected);
    let files = std::fs::read_dir(node.file("logs")).unwrap().count();
    assert!(files <= 2, "{files}");
    assert!(std::fs::read_to_string(node.file("logs/a.log")).unwrap().ends_with("stdout line-999\n"));
}

#[tokio::test]
async fn the_log_of_a_process_that_is_forgotten_is_deleted() {
    let node = Node::with(Config { kept_processes: 1, ..config() }).await;
    node.run(script("a", "echo a")).await.unwrap();
    node.until("a", ProcessState::Exited).await;
    std::fs::write(node.file("logs/a.log.1"), "what was rotated").unwrap();
    assert_eq!(files(&node.file("logs")), ["a.log", "a.log.1"]);
    node.run(script("b", "echo b")).await.unwrap();
    node.until("b", ProcessState::Exited).await;
    assert_eq!(files(&node.file("logs")), ["b.log"]);
}

#[tokio::test]
async fn logs_of_earlier_daemons_are_deleted_but_for_the_last() {
    let data = tempfile::tempdir().unwrap();
    let logs = data.path().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    for (written, name) in [(30, "a.log"), (20, "a.log.1"), (40, "b.log"), (10, "b.log.1"), (0, "other")] {
        let file = std::fs::File::create(logs.join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(written)).unwrap();
    }
    let config = Config { kept_processes: 1, ..config() };
    let _server = TestServer::builder(data.path()).start::<NodeAgentDaemon>(config).await.unwrap();
    assert_eq!(files(&logs), ["b.log", "b.log.1", "other"]);
}

/// Names of the files in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_line_is_cut_at_16_kib() {
    let node = Node::start().await;
    node.run(script("a", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo next")).await.unwrap();
    let lines = node.lines("a", 10, true).await;
    assert_eq!(lines[0].len(), "stdout: ".len() + 16 * 1024);
    assert_eq!(lines[1], "stdout: next");
}

#[tokio::test]
async fn the_log_goes_on_when_a_process_is_started_anew() {
    let node = Node::start().await;
    node.run(script("a", "echo first")).await.unwrap();
    node.until("a", ProcessState::Exited).await;
    node.run(script("a", "echo second")).await.unwrap();
    assert_eq!(node.lines("a", 10, true).await, ["stdout: first", "stdout: second"]);
}
