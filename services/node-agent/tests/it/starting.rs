//! Starting: once for each id, in a clean room, within limits.

use std::time::Duration;

use nova_node_agent::config::Config;
use nova_proto::node::v1::{ListProcessesRequest, ProcessLimits, ProcessState};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{Node, config, is_alive, script};

#[tokio::test]
async fn the_same_process_is_not_started_twice() {
    let node = Node::start().await;
    let first = node.run(script("a", "exec sleep 600")).await.unwrap();
    let second = node.run(script("a", "exec sleep 600")).await.unwrap();
    assert!(!first.already_running && second.already_running);
    assert_eq!(first.process.unwrap().pid, second.process.unwrap().pid);
}

#[tokio::test]
async fn of_many_callers_at_once_one_starts_it() {
    let node = Node::start().await;
    let starts = (0..20).map(|_| node.run(script("a", "exec sleep 600")));
    let started: Vec<_> = futures::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();
    let pids: std::collections::BTreeSet<u32> =
        started.iter().map(|response| response.process.as_ref().unwrap().pid).collect();
    assert_eq!(pids.len(), 1);
    assert_eq!(started.iter().filter(|response| !response.already_running).count(), 1);
}

#[tokio::test]
async fn another_spec_under_the_same_id_is_refused_while_it_runs() {
    let node = Node::start().await;
    node.run(script("a", "exec sleep 600")).await.unwrap();
    let status = node.run(script("a", "exec sleep 601")).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "ALREADY_EXISTS");
}

#[tokio::test]
async fn one_that_ended_is_started_anew_also_with_another_spec() {
    let node = Node::start().await;
    let first = node.run(script("a", "exit 0")).await.unwrap().process.unwrap();
    node.until("a", ProcessState::Exited).await;
    let second = node.run(script("a", "exec sleep 600")).await.unwrap();
    assert!(!second.already_running);
    assert_ne!(second.process.unwrap().pid, first.pid);
}

#[tokio::test]
async fn the_environment_is_cleared() {
    let node = Node::start().await;
    let mut spec = script("a", "exec /usr/bin/env");
    spec.environment.insert("GREETING".to_owned(), "hello world".to_owned());
    node.run(spec).await.unwrap();
    let lines = node.lines("a", 1_000, true).await;
    assert!(lines.contains(&"stdout: GREETING=hello world".to_owned()), "{lines:?}");
    // The shell makes PWD, SHLVL and _ itself.
    let known = ["PATH", "HOME", "LANG", "TZ", "GREETING", "PWD", "OLDPWD", "SHLVL", "_"];
    for line in lines {
        let name = line.trim_start_matches("stdout: ").split('=').next().unwrap();
        assert!(known.contains(&name), "{line}");
    }
}

#[tokio::test]
async fn limits_hold_for_the_process() {
    let node = Node::start().await;
    let mut spec = script("a", "until [ \"$(ulimit -n) $(ulimit -t)\" = '40 77' ]; do :; done; echo limited");
    spec.limits = Some(ProcessLimits { open_files: 40, cpu_seconds: 77, memory_bytes: 1 << 30 });
    node.run(spec).await.unwrap();
    assert_eq!(node.lines("a", 10, true).await, ["stdout: limited"]);
}

#[tokio::test]
async fn a_cpu_limit_ends_what_does_not_stop_computing() {
    let node = Node::start().await;
    let mut spec = script("a", "while :; do :; done");
    spec.limits = Some(ProcessLimits { cpu_seconds: 1, ..ProcessLimits::default() });
    node.run(spec).await.unwrap();
    let process = node.until("a", ProcessState::Failed).await;
    assert_eq!((process.exit_code, process.signal), (-1, 9));
    let cpu_time = Duration::try_from(process.usage.unwrap().cpu_time.unwrap()).unwrap();
    // The kernel counts ticks towards the limit, and time for the account: on a busy host they differ.
    assert!(cpu_time >= Duration::from_millis(500), "{cpu_time:?}");
}

#[tokio::test]
async fn only_programs_that_the_configuration_allows_are_started() {
    let node = Node::with(Config { allowed_programs: Vec::new(), ..config() }).await;
    for program in ["/bin/sh", "nova-runner"] {
        let mut spec = script("a", "exit 0");
        spec.program = program.to_owned();
        let status = node.run(spec).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "PROGRAM_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_leaves_nothing_behind() {
    let node = Node::with(Config { allowed_programs: vec!["/no/such".to_owned()], ..config() }).await;
    let mut spec = script("a", "exit 0");
    spec.program = "/no/such".to_owned();
    let status = node.run(spec).await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "PROCESS_NOT_STARTED");
    assert_eq!(node.get("a").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_node_runs_no_more_than_it_may() {
    let node = Node::with(Config { max_processes: 1, ..config() }).await;
    node.run(script("a", "exec sleep 600")).await.unwrap();
    let status = node.run(script("b", "exec sleep 600")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_error_details().retry_info().is_some());
}

#[tokio::test]
async fn processes_are_found_by_their_labels() {
    let node = Node::start().await;
    for (id, run) in [("a", "one"), ("b", "two"), ("c", "one")] {
        let mut spec = script(id, "exit 0");
        spec.labels.insert("run".to_owned(), run.to_owned());
        node.run(spec).await.unwrap();
    }
    let labels = [("run".to_owned(), "one".to_owned())].into();
    let response = node.client.clone().list_processes(ListProcessesRequest { labels }).await.unwrap();
    let ids = response.into_inner().processes.into_iter().map(|process| process.spec.unwrap().process_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "c"]);
}

#[tokio::test]
async fn a_thousand_processes_run_side_by_side() {
    let node = Node::start().await;
    let ids: Vec<String> = (0..1_000).map(|number| format!("agent-{number}")).collect();
    let starts = ids.iter().map(|id| node.run(script(id, "exec sleep 600")));
    let started = futures::future::join_all(starts).await;
    let pids: Vec<String> =
        started.into_iter().map(|response| response.unwrap().process.unwrap().pid.to_string()).collect();
    assert!(pids.iter().all(|pid| is_alive(pid)));
    let stops = ids.iter().map(|id| node.stop(id, Duration::from_secs(20)));
    for process in futures::future::join_all(stops).await {
        assert_eq!(process.unwrap().signal, 15);
    }
    assert!(!pids.iter().any(|pid| is_alive(pid)));
}
