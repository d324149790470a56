//! A phase whose node is away, or full, holds up nothing but what needs it.

use std::time::Duration;

use nova_lifecycle::run::{Executor, PhaseStatus, State, StepStatus, drive};
use nova_lifecycle::session::SessionFilter;
use nova_testkit::soon;
use nova_types::Namespace;
use tokio_util::sync::CancellationToken;

use crate::fuse::Fuse;
use crate::killed_runs::Surroundings;

const FAR_AND_NEAR: &str = "
apiVersion: nova/v1
kind: Plan
metadata: {name: far-and-near}
spec:
  timeout: 1h
  agents:
    lumina: {role: writer, capabilities: [memory]}
    orion: {role: auditor, capabilities: [host]}
  phases:
    - name: far
      agents: [orion, lumina]
      steps:
        - {id: summary, kind: summary, capability: memory}
    - name: near
      needs: []
      agents: [orion]
      steps:
        - {id: cpu, kind: cpu, capability: host}
        - {id: disk, kind: disk, capability: host, needs: [cpu]}
";

/// Surroundings in which the node of lumina is away.
async fn without_lumina() -> (Surroundings, Executor) {
    let surroundings = Surroundings::with_a_run_of(FAR_AND_NEAR).await;
    surroundings.world.lock().unwrap().away.insert("lumina".to_owned());
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    (surroundings, executor)
}

async fn near_has_ended(surroundings: &Surroundings, executor: &Executor) -> State {
    soon("the near phase ends", Duration::from_secs(30), async || {
        let state = executor.runs.outline(surroundings.run_id).await.ok()?;
        (state.phases[1].status == PhaseStatus::Ended).then_some(state)
    })
    .await
}

#[tokio::test]
async fn a_phase_that_cannot_begin_holds_up_no_other() {
    let (surroundings, executor) = without_lumina().await;
    let (namespace, cancel) = (Namespace::default(), CancellationToken::new());
    let state = tokio::select! {
        state = near_has_ended(&surroundings, &executor) => state,
        driven = drive(&executor, &namespace, surroundings.run_id, &cancel) => panic!("{driven:?}"),
    };
    assert_eq!(state.phases[0].status, PhaseStatus::Pending);
    surroundings.world.lock().unwrap().away.clear();
    assert!(surroundings.ended().await.end.unwrap().succeeded);
}

#[tokio::test]
async fn a_phase_without_a_place_says_why_it_waits_until_it_has_one() {
    let surroundings = Surroundings::with_a_run_of(FAR_AND_NEAR).await;
    surroundings.world.lock().unwrap().crowded_out.insert("lumina".to_owned());
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    let (namespace, cancel) = (Namespace::default(), CancellationToken::new());
    let waits = soon("the far phase says why it waits", Duration::from_secs(30), async || {
        let state = executor.runs.outline(surroundings.run_id).await.ok()?;
        state.phases[0].message.contains("the node is full").then_some(())
    });
    tokio::select! {
        () = waits => {}
        driven = drive(&executor, &namespace, surroundings.run_id, &cancel) => panic!("{driven:?}"),
    }
    surroundings.world.lock().unwrap().crowded_out.clear();
    let state = surroundings.ended().await;
    assert!(state.end.is_some_and(|end| end.succeeded));
    assert_eq!(state.phases[0].message, "");
}

#[tokio::test]
async fn a_run_is_cancelled_while_a_phase_cannot_begin() {
    let (surroundings, executor) = without_lumina().await;
    let (namespace, cancel) = (Namespace::default(), CancellationToken::new());
    let asked = async {
        near_has_ended(&surroundings, &executor).await;
        executor.runs.ask_to_cancel(surroundings.run_id, "ada").await.unwrap();
        cancel.cancel();
    };
    let driven = drive(&executor, &namespace, surroundings.run_id, &cancel);
    let both = async { tokio::join!(driven, asked).0 };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("the run ends").unwrap();
    let state = executor.runs.outline(surroundings.run_id).await.unwrap();
    assert!(state.is_cancelled() && state.end.is_some());
    assert_eq!(state.steps[0].status, StepStatus::Skipped(nova_lifecycle::run::Skip::Cancelled));
    assert!(surroundings.world.lock().unwrap().running.is_empty());
    let of_the_run = SessionFilter { run_id: surroundings.run_id.to_string(), ..SessionFilter::default() };
    let (sessions, _) = executor.sessions.list(&namespace, &of_the_run, 10, None).await.unwrap();
    assert!(!sessions.is_empty() && sessions.iter().all(|session| session.state.is_final()), "{sessions:?}");
}
