//! A run that is cancelled ends, wherever its driver is killed, and leaves nothing that goes on.

use std::time::Duration;

use nova_lifecycle::run::{StepStatus, TaskPlace, TaskView};
use nova_proto::lifecycle::v1 as pb;
use nova_testkit::soon;

use crate::fuse::Fuse;
use crate::killed_runs::Surroundings;
use crate::runs::start;
use crate::server::Daemon;

pub(crate) const ENDLESS: &str = "
apiVersion: nova/v1
kind: Plan
metadata: {name: endless}
spec:
  agents:
    orion: {role: auditor, capabilities: [host]}
  phases:
    - name: work
      agents: [orion]
      steps:
        - {id: cpu, kind: cpu, capability: host}
        - {id: watch, kind: endless, capability: host}
        - {id: after, kind: cpu, capability: host, needs: [watch]}
    - name: report
      agents: [orion]
      steps:
        - {id: summary, kind: cpu, capability: host}
";

/// More than a driver touches the world from the begin of a run to its endless step, or from its cancellation to its end.
const TOUCHES: i64 = 30;

#[tokio::test]
async fn a_run_whose_driver_was_killed_anywhere_is_cancelled_by_the_next() {
    for before in 1..TOUCHES {
        is_cancelled(before, TOUCHES).await;
    }
}

#[tokio::test]
async fn a_run_whose_driver_is_killed_while_it_cancels_is_cancelled_all_the_same() {
    for after in 1..TOUCHES {
        is_cancelled(TOUCHES, after).await;
    }
}

/// The driver is killed after so many touches before the run is cancelled, the next after so many from then on.
async fn is_cancelled(before: i64, after: i64) {
    let surroundings = Surroundings::with_a_run_of(ENDLESS).await;
    tokio::select! {
        () = surroundings.drive_until_killed(before) => {}
        () = comes_to_its_endless_step(&surroundings) => {}
    }
    let runs = surroundings.executor(&Fuse::of(i64::MAX)).runs;
    runs.ask_to_cancel(surroundings.run_id, "ada").await.unwrap();
    surroundings.drive_until_killed(after).await;
    let state = surroundings.ended().await;
    let killed = format!("killed after {before} and {after} touches");
    assert!(state.is_cancelled() && state.end.is_some(), "{killed}");
    assert!(state.steps.iter().all(|step| step.status.is_settled()), "{killed}: {:?}", state.steps);
    assert_ne!(state.steps[1].status, StepStatus::Succeeded, "{killed}");
    assert_eq!(runs.cancelled_by(surroundings.run_id).await.unwrap(), None, "{killed}");
    let world = surroundings.world.lock().unwrap();
    assert!(world.tasks.values().all(|(_, task)| !is_open(task)), "{killed}: {:?}", world.tasks);
    assert!(world.running.is_empty(), "{killed}: {:?}", world.running);
}

pub(crate) async fn comes_to_its_endless_step(surroundings: &Surroundings) {
    let is_there = || surroundings.world.lock().unwrap().tasks.values().any(|(_, task)| is_open(task));
    soon("the endless step is leased", Duration::from_secs(30), async || is_there().then_some(())).await;
}

fn is_open(task: &TaskView) -> bool {
    matches!(task.state, TaskPlace::Waiting | TaskPlace::Leased)
}

#[tokio::test]
async fn a_cancelled_run_stays_as_it_ended() {
    let daemon = Daemon::start().await;
    let run_id = daemon.workflows().start_run(start("")).await.unwrap().into_inner().run.unwrap().id;
    let cancel = async || {
        let request = pb::CancelRunRequest { run_id: run_id.clone(), ..Default::default() };
        daemon.workflows().cancel_run(request).await.unwrap().into_inner().run.unwrap()
    };
    let ended = soon("the run is cancelled", Duration::from_secs(30), async || {
        Some(cancel().await).filter(|run| run.state() == pb::RunState::Cancelled)
    });
    let ended = ended.await;
    assert!(ended.message.starts_with("the run was cancelled by spiffe://"), "{}", ended.message);
    assert!(ended.phases.iter().flat_map(|phase| &phase.steps).all(|step| step.end_time.is_some()));
    assert_eq!(cancel().await, ended);
    let listed =
        daemon.workflows().list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(listed[0].state(), pb::RunState::Cancelled);
}
