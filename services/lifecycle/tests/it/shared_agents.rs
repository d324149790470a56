//! Runs share agents: what each wants is there, and goes when nobody wants it any more.

use std::collections::BTreeSet;

use nova_lifecycle::agent::AgentState;
use nova_lifecycle::plan::Limits;
use nova_lifecycle::run::{AgentProcess, Executor, drive, reconcile};
use nova_types::{AgentId, Namespace, QueueName, RunId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::fuse::Fuse;
use crate::killed_runs::{PLAN, Surroundings};

fn agent(id: &str) -> AgentId {
    AgentId::parse("agent", id).unwrap()
}

fn process(capabilities: &[&str]) -> AgentProcess {
    AgentProcess {
        agent: agent("orion"),
        namespace: Namespace::default(),
        program: "nova-runner".to_owned(),
        args: Vec::new(),
        queues: capabilities.iter().map(|name| QueueName::for_capability(name).to_string()).collect(),
        limits: Limits::default(),
    }
}

async fn state_of(executor: &Executor, id: &str) -> AgentState {
    executor.agents.get(&Namespace::default(), &agent(id)).await.unwrap().state
}

/// Drives the run of the surroundings and another one of `plan` at once; both must succeed.
async fn two_at_once(plan: &str) -> (Surroundings, Executor) {
    let surroundings = Surroundings::with_a_run().await;
    let other = RunId::new(Timestamp::from_micros(2));
    surroundings.begin(other, plan).await;
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    let (namespace, cancel) = (Namespace::default(), CancellationToken::new());
    let (first, second) = tokio::join!(
        drive(&executor, &namespace, surroundings.run_id, &cancel),
        drive(&executor, &namespace, other, &cancel)
    );
    first.unwrap();
    second.unwrap();
    for run in [surroundings.run_id, other] {
        let end = executor.runs.state(run).await.unwrap().end.unwrap();
        assert!(end.succeeded, "{}", end.message);
    }
    (surroundings, executor)
}

#[tokio::test]
async fn two_runs_at_once_that_share_agents_both_succeed() {
    let (surroundings, executor) = two_at_once(PLAN).await;
    assert!(surroundings.world.lock().unwrap().running.is_empty());
    assert_eq!(state_of(&executor, "orion").await, AgentState::Retired);
    assert_eq!(state_of(&executor, "lumina").await, AgentState::Retired);
}

#[tokio::test]
async fn the_same_agent_in_another_shape_is_another_process() {
    let plan = PLAN.replace("capabilities: [host]", "capabilities: [host, gpu]");
    let (surroundings, _) = two_at_once(&plan).await;
    assert!(surroundings.world.lock().unwrap().starts >= 3, "orion twice, lumina");
}

#[test]
fn a_process_is_told_its_queues_and_named_after_its_shape() {
    let host = process(&["host", "gpu"]);
    assert_eq!(host.id(), process(&["gpu", "host"]).id(), "the order of capabilities is no shape");
    assert_ne!(host.id(), process(&["host"]).id());
    assert_eq!(host.id().len(), "agent-orion-".len() + 8);
    assert_eq!(host.arguments()[2..], ["--queues", "agents.can.gpu,agents.can.host"]);
    assert_eq!(process(&[]).arguments()[2..], ["--queues", "agents.id.orion"]);
    let own = AgentProcess { program: "/opt/worker".to_owned(), ..host };
    assert_eq!(own.arguments(), Vec::<String>::new(), "another program has arguments of its own");
}

#[test]
fn an_agent_of_another_namespace_is_another_process_and_is_told_where_it_works() {
    let namespace = Namespace::parse("namespace", "team").unwrap();
    let theirs = AgentProcess { namespace, ..process(&["host"]) };
    assert_ne!(theirs.id(), process(&["host"]).id());
    assert_eq!(theirs.arguments()[..2], ["--namespace", "team"]);
    let args = vec!["--namespace=other".to_owned()];
    let told = AgentProcess { args, ..theirs };
    assert_eq!(told.arguments()[..2], ["--namespace=other", "--queues"], "the plan has the last word");
}

#[tokio::test]
async fn what_another_open_run_wants_stays() {
    let surroundings = Surroundings::with_a_run().await;
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    executor.wants.add(RunId::new(Timestamp::from_micros(2)), process(&["host"]));
    let (namespace, cancel) = (Namespace::default(), CancellationToken::new());
    drive(&executor, &namespace, surroundings.run_id, &cancel).await.unwrap();
    let running: Vec<_> = surroundings.world.lock().unwrap().running.keys().cloned().collect();
    assert_eq!(running, [process(&["host"]).id()]);
    assert!(matches!(state_of(&executor, "orion").await, AgentState::Starting), "it is not let go");
    assert_eq!(state_of(&executor, "lumina").await, AgentState::Retired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_begins_while_another_lets_its_agent_go_wins() {
    use nova_lifecycle::agent::{Author, Description};
    let surroundings = Surroundings::with_a_run().await;
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    let (namespace, author, orion) = (Namespace::default(), Author::default(), agent("orion"));
    let description = Description {
        id: orion.clone(),
        role: "auditor".to_owned(),
        capabilities: Vec::new(),
        version: String::new(),
        framework: String::new(),
        metadata: Default::default(),
    };
    executor.agents.register(&namespace, &description, &author).await.unwrap();
    executor.agents.engage(&namespace, &orion, "first", &author).await.unwrap();
    // The other run comes between the look and the write: the write fails, and the second look sees it.
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let wanted = || {
        let first = looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        if first {
            let engaged = executor.agents.engage(&namespace, &orion, "second", &author);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(engaged)).unwrap();
        }
        !first
    };
    executor.agents.let_go(&namespace, &orion, AgentState::Retired, wanted, "end", &author).await.unwrap();
    assert_eq!(state_of(&executor, "orion").await, AgentState::Starting);
    assert_eq!(looks.into_inner(), 2);
}

#[tokio::test]
async fn what_an_open_run_wants_is_started_again_and_the_rest_is_stopped() {
    let surroundings = Surroundings::with_a_run().await;
    let executor = surroundings.executor(&Fuse::of(i64::MAX));
    let (wanted, stray) = (process(&["host"]), process(&["left"]));
    surroundings.world.lock().unwrap().running.insert(stray.id(), stray);
    executor.wants.add(surroundings.run_id, wanted.clone());
    assert!(reconcile(executor.mesh.as_ref(), &executor.wants, true).await.unwrap());
    let running: BTreeSet<_> = surroundings.world.lock().unwrap().running.keys().cloned().collect();
    assert_eq!(running, BTreeSet::from([wanted.id()]));
}
