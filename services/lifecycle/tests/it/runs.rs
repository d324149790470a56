//! WorkflowService, without the other daemons: what it takes, keeps and shows.

use nova_lifecycle::LifecycleConfig;
use nova_proto::lifecycle::v1 as pb;
use nova_testkit::soon;
use tonic::Code;

use crate::server::{Daemon, fields, reason};

pub(crate) const PLAN: &str = "\
apiVersion: nova/v1
kind: Plan
metadata: {name: small}
spec:
  input: {type: object, properties: {repo: {type: string, default: .}}}
  agents:
    orion: {role: auditor, capabilities: [host]}
  phases:
    - name: audit
      instructions: look
      agents: [orion]
      steps:
        - {id: cpu, kind: host.cpu, capability: host}
    - name: rehearsal
      agents: [orion]
      steps:
        - {id: wrong, kind: host.cpu, agent: orion, expect: failed}
";

pub(crate) fn start(request_id: &str) -> pb::StartRunRequest {
    pb::StartRunRequest { plan: PLAN.to_owned(), request_id: request_id.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_plan_is_checked_without_running_it() {
    let daemon = Daemon::start().await;
    let request = pb::ValidatePlanRequest { plan: PLAN.to_owned(), ..Default::default() };
    let answer = daemon.workflows().validate_plan(request).await.unwrap().into_inner();
    assert_eq!(answer.plan, "small");
    assert_eq!(answer.phases[1].steps[0].queue, "agents.id.orion");
    assert_eq!(answer.phases[1].steps[0].expected(), pb::StepState::Failed);
}

#[tokio::test]
async fn a_bad_plan_is_told_its_line() {
    let daemon = Daemon::start().await;
    let plan = PLAN.replace("capability: host}", "capability: gpu}");
    let request = pb::ValidatePlanRequest { plan, file_name: "my.yaml".to_owned(), ..Default::default() };
    let status = daemon.workflows().validate_plan(request).await.unwrap_err();
    assert_eq!(fields(&status), ["spec.phases[0].steps[0].capability"]);
    assert!(status.message().contains("my.yaml:13: no agent of phase"), "{}", status.message());
}

#[tokio::test]
async fn the_same_request_starts_one_run() {
    let daemon = Daemon::start().await;
    let first = daemon.workflows().start_run(start("a")).await.unwrap().into_inner().run.unwrap();
    let again = daemon.workflows().start_run(start("a")).await.unwrap().into_inner().run.unwrap();
    assert_eq!(first.id, again.id);
    let other = pb::StartRunRequest { input_json: r#"{"repo":"x"}"#.to_owned(), ..start("a") };
    assert_eq!(reason(&daemon.workflows().start_run(other).await.unwrap_err()), "IDEMPOTENCY_MISMATCH");
    let runs = daemon.workflows().list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].input_json, "", "lists leave inputs out");
    let request = pb::GetRunRequest { run_id: first.id, ..Default::default() };
    let run = daemon.workflows().get_run(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.input_json, r#"{"repo":"."}"#);
}

#[tokio::test]
async fn runs_that_go_on_are_listed_alone() {
    let daemon = Daemon::start().await;
    let list = async |running: bool, page_token: String| {
        let request = pb::ListRunsRequest { page_size: 1, page_token, running, ..Default::default() };
        daemon.workflows().list_runs(request).await.unwrap().into_inner()
    };
    assert!(list(true, String::new()).await.runs.is_empty());
    for request in ["a", "b"] {
        daemon.workflows().start_run(start(request)).await.unwrap();
    }
    let (mut token, mut both) = (String::new(), [Vec::new(), Vec::new()]);
    for running in [true, false] {
        for _ in 0..2 {
            let page = list(running, token).await;
            both[usize::from(running)].extend(page.runs.into_iter().map(|run| run.id));
            token = page.next_page_token;
        }
        token = String::new();
    }
    assert_eq!(both[0].len(), 2);
    assert_eq!(both[0], both[1], "none of them has ended");
}

#[tokio::test]
async fn a_run_is_shown_and_reported_while_it_goes_on() {
    let daemon = Daemon::start().await;
    let run = daemon.workflows().start_run(start("")).await.unwrap().into_inner().run.unwrap();
    let named = pb::GetRunRequest { run_id: run.id.clone(), ..Default::default() };
    let shown = daemon.workflows().get_run(named).await.unwrap().into_inner().run.unwrap();
    assert_eq!(shown.state(), pb::RunState::Running);
    assert_eq!(shown.phases.len(), 2);
    let named = pb::GetRunReportRequest { run_id: run.id.clone(), ..Default::default() };
    let report = daemon.workflows().get_run_report(named).await.unwrap().into_inner().markdown;
    assert!(
        report.starts_with("# Run of small : goes on") || report.starts_with("# Run of small: goes on"),
        "{report}"
    );
    let watch = pb::WatchRunRequest { run_id: run.id, ..Default::default() };
    let first =
        daemon.workflows().watch_run(watch).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!((first.sequence, first.kind.as_str()), (1, "run_started"));
}

#[tokio::test]
async fn no_more_runs_are_open_than_may_be() {
    let daemon = Daemon::with(LifecycleConfig { max_open_runs: 1, ..LifecycleConfig::default() }).await;
    daemon.workflows().start_run(start("a")).await.unwrap();
    let status = daemon.workflows().start_run(start("b")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    daemon.workflows().start_run(start("a")).await.unwrap();
}

#[tokio::test]
async fn no_more_watches_are_open_than_may_be() {
    let daemon = Daemon::with(LifecycleConfig { max_watches: 1, ..LifecycleConfig::default() }).await;
    let run_id = daemon.workflows().start_run(start("")).await.unwrap().into_inner().run.unwrap().id;
    let watch = async || {
        let request = pb::WatchRunRequest { run_id: run_id.clone(), ..Default::default() };
        daemon.workflows().watch_run(request).await
    };
    let open = watch().await.unwrap();
    assert_eq!(watch().await.unwrap_err().code(), Code::ResourceExhausted);
    drop(open);
    let again = async || watch().await.ok();
    soon("there is room for another watch", std::time::Duration::from_secs(30), again).await;
}

#[tokio::test]
async fn a_daemon_that_drives_no_runs_starts_none() {
    let daemon = Daemon::with(LifecycleConfig { drive_runs: false, ..LifecycleConfig::default() }).await;
    let status = daemon.workflows().start_run(start("a")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "READ_ONLY"));
    let runs = daemon.workflows().list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert!(runs.is_empty());
}

#[test]
fn every_blueprint_is_a_good_plan() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/blueprints");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let checked = nova_lifecycle::plan::parse(&std::fs::read_to_string(&path).unwrap(), "blueprint");
        assert!(checked.is_ok(), "{}: {}", path.display(), checked.unwrap_err());
    }
}
