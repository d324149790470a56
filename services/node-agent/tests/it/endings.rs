//! How processes end: by themselves, by a signal, on request; always with their whole group.

use std::time::Duration;

use nova_proto::node::v1::ProcessState;
use tonic::Code;

use crate::fixture::{Node, eventually, is_alive, script, written};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let node = Node::start().await;
    let cases = [
        ("good", "exit 0", ProcessState::Exited, 0, 0),
        ("bad", "exit 3", ProcessState::Failed, 3, 0),
        ("killed", "kill -SEGV $$", ProcessState::Failed, -1, 11),
    ];
    for (id, text, state, exit_code, signal) in cases {
        node.run(script(id, text)).await.unwrap();
        let process = node.until(id, state).await;
        assert_eq!((process.exit_code, process.signal), (exit_code, signal), "{id}");
        assert!(process.end_time.is_some() && !process.reason.is_empty(), "{id}");
    }
}

#[tokio::test]
async fn stopping_asks_first() {
    let node = Node::start().await;
    node.run(script("a", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"))
        .await
        .unwrap();
    eventually_line(&node, "a", "stdout: ready").await;
    let process = node.stop("a", LONG).await.unwrap();
    assert_eq!((process.state(), process.exit_code, process.signal), (ProcessState::Exited, 7, 0));
    assert!(node.lines("a", 10, false).await.contains(&"stdout: bye".to_owned()));
}

#[tokio::test]
async fn what_does_not_listen_is_killed_after_the_grace() {
    let node = Node::start().await;
    node.run(script("a", "trap '' TERM; echo ready; while :; do sleep 600; done")).await.unwrap();
    eventually_line(&node, "a", "stdout: ready").await;
    let process = node.stop("a", Duration::from_millis(50)).await.unwrap();
    assert_eq!((process.state(), process.exit_code, process.signal), (ProcessState::Exited, -1, 9));
}

#[tokio::test]
async fn a_second_stop_may_be_more_impatient() {
    let node = Node::start().await;
    node.run(script("a", "trap '' TERM; echo ready; while :; do sleep 600; done")).await.unwrap();
    eventually_line(&node, "a", "stdout: ready").await;
    let (patient, impatient) = tokio::join!(node.stop("a", LONG), node.stop("a", Duration::ZERO));
    assert_eq!(patient.unwrap().signal, 9);
    assert_eq!(impatient.unwrap().signal, 9);
}

#[tokio::test]
async fn stopping_what_has_ended_changes_nothing() {
    let node = Node::start().await;
    node.run(script("a", "exit 3")).await.unwrap();
    node.until("a", ProcessState::Failed).await;
    let process = node.stop("a", LONG).await.unwrap();
    assert_eq!((process.state(), process.exit_code), (ProcessState::Failed, 3));
    assert_eq!(node.stop("nobody", LONG).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_the_leader_leaves_behind_is_killed_with_it() {
    let node = Node::start().await;
    let pid = node.file("pid");
    let text = format!("(trap '' TERM HUP; sleep 600 & echo $! > {}; wait) & wait $!", pid.display());
    node.run(script("a", &format!("{text} & while [ ! -s {} ]; do :; done; exit 3", pid.display())))
        .await
        .unwrap();
    node.until("a", ProcessState::Failed).await;
    let grandchild = written(&pid).await;
    eventually("the grandchild ends", || !is_alive(&grandchild)).await;
}

#[tokio::test]
async fn grandchildren_have_the_grace_too_and_are_killed_after_it() {
    let node = Node::start().await;
    let (good, bad) = (node.file("good"), node.file("bad"));
    let text = format!(
        "sh -c 'trap \"echo done > {good}; exit\" TERM; echo ready; while :; do sleep 0.01; done' &
         sh -c 'trap \"\" TERM; echo $$ > {bad}; while :; do sleep 600; done' & wait",
        good = good.display(),
        bad = bad.display(),
    );
    node.run(script("a", &text)).await.unwrap();
    eventually_line(&node, "a", "stdout: ready").await;
    let stubborn = written(&bad).await;
    let process = node.stop("a", Duration::from_millis(500)).await.unwrap();
    assert_eq!((process.state(), process.signal), (ProcessState::Exited, 15));
    assert_eq!(written(&good).await, "done");
    assert!(!is_alive(&stubborn));
}

#[tokio::test]
async fn draining_ends_all_processes_side_by_side() {
    let node = Node::start().await;
    for id in ["a", "b", "c"] {
        node.run(script(id, "trap 'sleep 0.2; exit 0' TERM; echo ready; while :; do sleep 0.01; done"))
            .await
            .unwrap();
        eventually_line(&node, id, "stdout: ready").await;
    }
    let mut pids = Vec::new();
    for id in ["a", "b", "c"] {
        pids.push(node.get(id).await.unwrap().pid.to_string());
    }
    node.server.stop().await;
    assert!(!pids.iter().any(|pid| is_alive(pid)));
}

/// Waits until a process has written a line.
async fn eventually_line(node: &Node, id: &str, line: &str) {
    let written = async { while !node.lines(id, 100, false).await.iter().any(|written| written == line) {} };
    tokio::time::timeout(LONG, written).await.unwrap();
}
