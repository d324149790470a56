//! Processes that end badly are started again, but not for ever.

use std::time::Duration;

use nova_node_agent::config::{Config, RestartConfig};
use nova_proto::node::v1::ProcessState;

use crate::fixture::{Node, config, restarting, script};

#[tokio::test]
async fn a_process_that_recovers_runs_on() {
    let node = Node::start().await;
    let count = node.file("count").display().to_string();
    let text = format!("echo x >> {count}; [ $(wc -l < {count}) -ge 3 ] && exec sleep 600; exit 1");
    node.run(restarting("a", &text)).await.unwrap();
    let process = loop {
        let process = node.until("a", ProcessState::Running).await;
        if process.restarts == 2 {
            break process;
        }
    };
    assert_eq!((process.exit_code, process.reason.as_str()), (1, ""));
}

#[tokio::test]
async fn a_crash_loop_ends() {
    let node = Node::start().await;
    node.run(restarting("a", "exit 5")).await.unwrap();
    let process = node.until("a", ProcessState::Failed).await;
    assert_eq!((process.restarts, process.exit_code), (3, 5));
    assert_eq!(process.reason, "crash loop: 3 restarts within 60 s; it ended with exit code 5");
}

#[tokio::test]
async fn what_ends_well_is_not_started_again() {
    let node = Node::start().await;
    node.run(restarting("a", "exit 0")).await.unwrap();
    assert_eq!(node.until("a", ProcessState::Exited).await.restarts, 0);
}

#[tokio::test]
async fn a_process_that_waits_for_its_restart_can_be_stopped() {
    let slow =
        RestartConfig { first_delay_ms: 600_000, longest_delay_ms: 600_000, limit: 3, window_seconds: 60 };
    let node = Node::with(Config { restart: slow, ..config() }).await;
    node.run(restarting("a", "exit 5")).await.unwrap();
    let process = node.until("a", ProcessState::BackingOff).await;
    assert!(process.reason.starts_with("ended with exit code 5; starts again in "), "{}", process.reason);
    assert!(node.run(restarting("a", "exit 5")).await.unwrap().already_running);
    let process = node.stop("a", Duration::from_secs(1)).await.unwrap();
    assert_eq!(process.state(), ProcessState::Exited);
    assert!(!node.run(script("a", "exit 0")).await.unwrap().already_running);
}
