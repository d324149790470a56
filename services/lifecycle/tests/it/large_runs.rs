//! A run is told in messages that every client takes (4 MiB), however much its steps gave.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use nova_lifecycle::run::{Entry, Event, Runs, Start, State, StepError};
use nova_lifecycle::{LifecycleConfig, Records, plan};
use nova_proto::lifecycle::v1 as pb;
use nova_storage::SqliteKv;
use nova_types::{Namespace, RunId, StepId, SystemClock, Timestamp};
use serde_json::json;
use tempfile::TempDir;
use tonic::Code;

use crate::server::Daemon;

/// Results of 10 MiB in all, and errors of 5 MiB.
const GOOD: usize = 20;
const BAD: usize = 400;

#[tokio::test]
async fn a_run_is_watched_and_read_though_its_results_and_errors_are_larger_than_a_message() {
    let folder = TempDir::new().unwrap();
    let run_id = large_run(&folder).await;
    let daemon = Daemon::over(folder, LifecycleConfig::default()).await;
    let watched = watch(&daemon, &run_id, 0).await;
    let read = get(&daemon, &run_id, "").await.unwrap();
    assert_eq!(watched, read, "the last event tells the run");
    let steps: Vec<_> = read.phases.iter().flat_map(|phase| &phase.steps).collect();
    assert_eq!((read.state(), steps.len()), (pb::RunState::Failed, GOOD + BAD));
    assert!(steps.iter().all(|step| step.result_json.is_empty()));
    let failed = steps[GOOD..].iter().copied();
    let (shortened, told): (Vec<&pb::Step>, Vec<&pb::Step>) = failed.partition(|step| step.shortened);
    assert!(told.iter().all(|step| step.attempt_log.len() == 3) && told.len() > 50, "{}", told.len());
    assert!(shortened.iter().all(|step| step.error.is_empty() && step.attempts == 3));
}

#[tokio::test]
async fn a_step_is_read_with_its_result_or_all_of_its_errors() {
    let folder = TempDir::new().unwrap();
    let run_id = large_run(&folder).await;
    let daemon = Daemon::over(folder, LifecycleConfig::default()).await;
    let step = async |id: &str| {
        let run = get(&daemon, &run_id, id).await.unwrap();
        assert_eq!((run.phases.len(), run.phases[0].steps.len()), (1, 1));
        run.phases[0].steps[0].clone()
    };
    assert!(step("s7").await.result_json.len() > 500 << 10);
    let failed = step(&format!("s{}", GOOD + BAD - 1)).await;
    assert!(!failed.shortened && failed.attempt_log.len() == 3 && failed.error.len() > 4_000);
    let unknown = get(&daemon, &run_id, "none").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn who_reads_a_run_holds_a_page_of_its_log_and_the_results_that_are_wanted() {
    let folder = TempDir::new().unwrap();
    let run_id = RunId::parse("run_id", &large_run(&folder).await).unwrap();
    let kv = Arc::new(SqliteKv::open(&folder.path().join("kv.db")).unwrap());
    let runs = Runs::new(Records::new(kv), Arc::new(SystemClock));
    let page = runs.log(run_id, 0).await.unwrap();
    assert!(page.more && page.entries.len() < GOOD, "{} entries", page.entries.len());
    let results = |state: State| state.steps.into_iter().filter_map(|step| step.result);
    assert!(results(runs.outline(run_id).await.unwrap()).all(|result| result.is_null()));
    let wanted = runs.state_with(run_id, |id, _| *id == step(3)).await.unwrap();
    assert_eq!(results(wanted).filter(|result| !result.is_null()).count(), 1);
    assert!(results(runs.state(run_id).await.unwrap()).all(|result| !result.is_null()));
}

#[tokio::test]
async fn a_watch_that_is_opened_again_begins_with_the_run() {
    let folder = TempDir::new().unwrap();
    let run_id = large_run(&folder).await;
    let daemon = Daemon::over(folder, LifecycleConfig::default()).await;
    assert_eq!(watch(&daemon, &run_id, 30).await, get(&daemon, &run_id, "").await.unwrap());
}

async fn get(daemon: &Daemon, run_id: &str, step: &str) -> Result<pb::Run, tonic::Status> {
    let request =
        pb::GetRunRequest { run_id: run_id.to_owned(), step: step.to_owned(), ..Default::default() };
    Ok(daemon.workflows().get_run(request).await?.into_inner().run.unwrap())
}

/// What the events of a run add up to: the run of the first, and the step of each.
async fn watch(daemon: &Daemon, run_id: &str, after: u64) -> pb::Run {
    let request = pb::WatchRunRequest { run_id: run_id.to_owned(), after, ..Default::default() };
    let mut events = daemon.workflows().watch_run(request).await.unwrap().into_inner();
    let (mut run, mut time) = (None, Timestamp::default());
    while let Some(event) = events.message().await.unwrap() {
        let is_whole = event.sequence == after + 1 || event.kind == "run_ended";
        assert_eq!(event.run.is_some(), is_whole, "{}", event.kind);
        let step = event.step_after.as_ref().map(|step| step.id.as_str()).unwrap_or_default();
        assert_eq!(step, event.step);
        let told = event.time.as_ref().map(Timestamp::from_wire).unwrap();
        assert!(told >= time, "times never go back, though those of the log do");
        time = told;
        run = event.run.or(run);
    }
    run.unwrap()
}

/// Stores a run that has ended; gives its id.
async fn large_run(folder: &TempDir) -> String {
    let kv = Arc::new(SqliteKv::open(&folder.path().join("kv.db")).unwrap());
    let runs = Runs::new(Records::new(kv), Arc::new(SystemClock));
    let (namespace, run_id) = (Namespace::default(), RunId::new(Timestamp::from_micros(1)));
    runs.create(start(run_id), "").await.unwrap();
    let mut state = runs.state(run_id).await.unwrap();
    let events = (0..GOOD + BAD).flat_map(|at| if at < GOOD { good(step(at)) } else { bad(&step(at)) });
    let end = Event::RunEnded { succeeded: false, message: "much went wrong".to_owned() };
    let mut entries = Vec::new();
    for (event, sequence) in events.chain([end]).zip(2..) {
        let entry = Entry { sequence, time: Timestamp::from_micros(2), cursor: None, event };
        state.apply(&entry).unwrap();
        entries.push(entry);
    }
    let (_, fence) = runs.head(&namespace, run_id).await.unwrap();
    runs.append(&state, &entries, None, fence).await.unwrap();
    run_id.to_string()
}

fn step(at: usize) -> StepId {
    StepId::parse("step", &format!("s{at}")).unwrap()
}

fn good(step: StepId) -> Vec<Event> {
    let result = json!({"found": "x".repeat(512 << 10)});
    vec![Event::StepSucceeded { step, result }]
}

fn bad(step: &StepId) -> Vec<Event> {
    let error = StepError::new("COMMAND_FAILED", "x".repeat(4_096));
    let failed = |attempt| Event::AttemptFailed { step: step.clone(), attempt, error: error.clone() };
    let last = Event::StepFailed { step: step.clone(), error: error.clone() };
    (1..=3).map(failed).chain([last]).collect()
}

fn start(run_id: RunId) -> Start {
    Start {
        run_id,
        namespace: Namespace::default(),
        plan: plan::parse(&plan_text(), "").unwrap(),
        input: json!({}),
        skip_phases: BTreeSet::new(),
        actor: "spiffe://nova.local/user/ada".to_owned(),
        traceparent: String::new(),
        request_id: None,
    }
}

fn plan_text() -> String {
    let mut plan = "\
apiVersion: nova/v1
kind: Plan
metadata: {name: large}
spec:
  agents:
    orion: {role: auditor, capabilities: [host]}
  phases:
    - name: work
      agents: [orion]
      steps:
"
    .to_owned();
    for at in 0..GOOD + BAD {
        writeln!(plan, "        - {{id: s{at}, kind: cpu, capability: host}}").unwrap();
    }
    plan
}
