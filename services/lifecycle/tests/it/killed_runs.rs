//! A run whose driver is killed at any point, any number of times, ends as one that never was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nova_lifecycle::agent::{AgentState, Agents};
use nova_lifecycle::plan;
use nova_lifecycle::run::{Executor, Runs, Start, State, Wants, drive, reconcile};
use nova_lifecycle::session::Sessions;
use nova_lifecycle::{Error, Records};
use nova_storage::{Kv, SqliteKv};
use nova_types::{AgentId, Namespace, RunId, SystemClock, Timestamp, TrustDomain};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::fake_mesh::{FakeMesh, World};
use crate::fuse::{Fuse, FusedKv};

pub(crate) const PLAN: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: killed}
spec:
  agents:
    orion: {role: auditor, capabilities: [host]}
    lumina: {role: writer, capabilities: [memory]}
  phases:
    - name: audit
      agents: [orion]
      steps:
        - {id: cpu, kind: cpu, capability: host}
        - {id: disk, kind: disk, capability: host}
        - {id: size, kind: size, capability: host, needs: [cpu, disk], with: {n: "${steps.cpu.result.n}"}}
    - name: rehearsal
      agents: [orion]
      steps:
        - {id: flaky, kind: flaky, capability: host, retry: {max_attempts: 3}}
        - {id: broken, kind: broken, capability: host, fallback: spare, expect: fell_back}
        - {id: spare, kind: spare, agent: orion, standby: true}
        - {id: forbidden, kind: forbidden, capability: host, expect: denied}
    - name: report
      agents: [lumina]
      steps:
        - {id: summary, kind: summary, capability: memory, needs: [size, flaky, broken]}
"#;

/// What outlives a killed driver: the store and the rest of the mesh.
pub(crate) struct Surroundings {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) run_id: RunId,
    _folder: TempDir,
}

impl Surroundings {
    pub(crate) async fn with_a_run() -> Self {
        Self::with_a_run_of(PLAN).await
    }

    pub(crate) async fn with_a_run_of(plan: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let kv: Arc<dyn Kv> = Arc::new(SqliteKv::open(&folder.path().join("kv.db")).unwrap());
        let run_id = RunId::new(Timestamp::from_micros(1));
        let this = Self { kv, world: Arc::default(), run_id, _folder: folder };
        this.begin(run_id, plan).await;
        this
    }

    /// Stores one more run, of this plan.
    pub(crate) async fn begin(&self, run_id: RunId, plan: &str) {
        self.executor(&Fuse::of(i64::MAX)).runs.create(start_of(run_id, plan), "").await.unwrap();
    }

    pub(crate) fn executor(&self, fuse: &Fuse) -> Executor {
        let records = Records::new(Arc::new(FusedKv { kv: self.kv.clone(), fuse: fuse.clone() }));
        let clock = Arc::new(SystemClock);
        Executor {
            runs: Runs::new(records.clone(), clock.clone()),
            agents: Agents::new(records.clone(), clock.clone(), TrustDomain::default()),
            sessions: Sessions::new(records, clock),
            mesh: Arc::new(FakeMesh { world: self.world.clone(), fuse: fuse.clone() }),
            wants: Wants::default(),
            trust_domain: TrustDomain::default(),
            decision_wait: Duration::ZERO,
        }
    }

    /// Drives the run until the fuse burns or the run ends; then whoever drove it is gone.
    pub(crate) async fn drive_until_killed(&self, touches: i64) {
        let fuse = Fuse::of(touches);
        let executor = self.executor(&fuse);
        let cancel = CancellationToken::new();
        let namespace = Namespace::default();
        tokio::select! {
            () = fuse.burnt() => {}
            driven = drive_on(&executor, &namespace, self.run_id, &cancel) => {
                assert!(driven.is_ok() || fuse.is_burnt(), "{driven:?}");
            }
        }
    }

    pub(crate) async fn ended(&self) -> State {
        let executor = self.executor(&Fuse::of(i64::MAX));
        let (namespace, cancel) = (Namespace::default(), CancellationToken::new());
        let driven = drive_on(&executor, &namespace, self.run_id, &cancel);
        tokio::time::timeout(Duration::from_secs(60), driven).await.expect("the run ends").unwrap();
        reconcile(executor.mesh.as_ref(), &executor.wants, true).await.unwrap();
        executor.runs.state(self.run_id).await.unwrap()
    }
}

/// Drives a run as the scheduler does: what a killed driver had sent to the store may land after the next has read.
async fn drive_on(
    executor: &Executor,
    namespace: &Namespace,
    run_id: RunId,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    loop {
        match drive(executor, namespace, run_id, cancel).await {
            Err(Error::Contended(_)) => {}
            driven => return driven,
        }
    }
}

/// How a run of this plan begins.
pub(crate) fn start_of(run_id: RunId, plan: &str) -> Start {
    Start {
        run_id,
        namespace: Namespace::default(),
        plan: plan::parse(plan, "").unwrap(),
        input: json!({}),
        skip_phases: BTreeSet::new(),
        actor: "spiffe://nova.local/user/ada".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        request_id: None,
    }
}

/// What must not depend on when a driver was killed.
fn outcome(state: &State) -> Vec<(String, String, usize)> {
    let step = |index: usize| {
        let step = &state.steps[index];
        (
            state.step(index).id.to_string(),
            format!("{:?} {:?}", step.status, step.result),
            step.attempts.len(),
        )
    };
    (0..state.steps.len()).map(step).collect()
}

async fn check(kills: Vec<(i64, bool)>) {
    let untouched = Surroundings::with_a_run().await.ended().await;
    let surroundings = Surroundings::with_a_run().await;
    for (touches, forget) in &kills {
        surroundings.drive_until_killed(*touches).await;
        if *forget {
            surroundings.world.lock().unwrap().forget_news();
        }
    }
    let state = surroundings.ended().await;
    assert!(state.end.as_ref().unwrap().succeeded, "{:?}", state.end);
    let statuses =
        |state: &State| outcome(state).into_iter().map(|(id, how, _)| (id, how)).collect::<Vec<_>>();
    assert_eq!(statuses(&state), statuses(&untouched));
    if kills.iter().all(|(_, forget)| !forget) {
        assert_eq!(outcome(&state), outcome(&untouched), "no attempt is lost while the news are there");
    }
    let world = surroundings.world.lock().unwrap();
    assert_eq!(world.tasks.len(), 8, "every step is one task");
    assert!(world.running.is_empty(), "no process is left: {:?}", world.running);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_that_is_killed_anywhere_ends_as_if_it_was_not(
        kills in proptest::collection::vec((1_i64..60, proptest::bool::weighted(0.3)), 1..6)
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(check(kills));
    }
}

#[tokio::test]
async fn a_task_that_was_stored_before_the_news_were_lost_is_read() {
    check(vec![(8, false), (16, false), (58, true)]).await;
}

#[tokio::test]
async fn the_end_of_a_run_leaves_a_report_and_retired_agents() {
    let surroundings = Surroundings::with_a_run().await;
    let state = surroundings.ended().await;
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    let report = executor.runs.report(state.start.run_id).await.unwrap().unwrap();
    for part in [
        "succeeded",
        "## Steps",
        "| flaky | rehearsal | succeeded | succeeded | 2 |",
        "fell_back to spare",
        "EXIT: code 1",
        "nova trace 0af7651916cd43dd8448eb211c80319c",
    ] {
        assert!(report.contains(part), "{part} is not in:\n{report}");
    }
    let orion = AgentId::parse("agent", "orion").unwrap();
    assert_eq!(executor.agents.get(&Namespace::default(), &orion).await.unwrap().state, AgentState::Retired);
    assert!(executor.runs.open().await.unwrap().is_empty());
}
