//! What has ended goes when it is too old or too much, all of it; what is open stays.

use std::time::Duration;

use nova_lifecycle::Records;
use nova_lifecycle::agent::{Author, Description};
use nova_lifecycle::run::{Executor, Keep, forget_ended};
use nova_lifecycle::session::{NewSession, SessionChange, SessionState};
use nova_types::{AgentId, Namespace, RequestId, RunId, Timestamp};

use crate::fuse::Fuse;
use crate::killed_runs::{PLAN, Surroundings, start_of};

const ALL_OLD: Keep = Keep { runs: 1_000, time: Duration::ZERO };
const HOUR: Duration = Duration::from_secs(3_600);

fn executor(surroundings: &Surroundings) -> Executor {
    surroundings.executor(&Fuse::of(i64::MAX))
}

async fn forget(executor: &Executor, keep: Keep) -> usize {
    forget_ended(&executor.runs, &executor.sessions, keep).await.unwrap()
}

/// Keys of what is kept of runs and sessions.
async fn kept(surroundings: &Surroundings) -> Vec<String> {
    let records = Records::new(surroundings.kv.clone());
    let mut keys = Vec::new();
    for prefix in ["run", "session"] {
        keys.extend(records.kv().scan(prefix).await.unwrap().into_iter().map(|entry| entry.key));
    }
    keys
}

#[tokio::test]
async fn a_run_that_is_forgotten_leaves_nothing_even_if_that_is_cut_off_anywhere() {
    for touches in [1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 17, 19] {
        let surroundings = Surroundings::with_a_run().await;
        surroundings.ended().await;
        let cut_off = surroundings.executor(&Fuse::of(touches));
        forget_ended(&cut_off.runs, &cut_off.sessions, ALL_OLD).await.ok();
        forget(&executor(&surroundings), ALL_OLD).await;
        assert_eq!(kept(&surroundings).await, Vec::<String>::new(), "cut off after {touches} touches");
    }
}

#[tokio::test]
async fn an_open_run_stays_and_so_does_one_that_ended_lately() {
    let surroundings = Surroundings::with_a_run().await;
    let before = kept(&surroundings).await;
    assert_eq!(forget(&executor(&surroundings), ALL_OLD).await, 0);
    assert_eq!(kept(&surroundings).await, before, "it is open");
    surroundings.ended().await;
    let before = kept(&surroundings).await;
    assert_eq!(forget(&executor(&surroundings), Keep { time: HOUR, ..ALL_OLD }).await, 0);
    assert_eq!(kept(&surroundings).await, before, "it ended lately");
}

#[tokio::test]
async fn of_too_many_runs_those_that_ended_first_go_with_their_requests() {
    let surroundings = Surroundings::with_a_run().await;
    surroundings.ended().await;
    let executor = executor(&surroundings);
    let (namespace, later) = (Namespace::default(), RunId::new(Timestamp::from_micros(2)));
    let request_id = RequestId::parse("request_id", "later").unwrap();
    let start = nova_lifecycle::run::Start { request_id: request_id.clone(), ..start_of(later, PLAN) };
    executor.runs.create(start, "print").await.unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    nova_lifecycle::run::drive(&executor, &namespace, later, &cancel).await.unwrap();
    forget(&executor, Keep { runs: 1, time: HOUR }).await;
    assert!(executor.runs.head(&namespace, surroundings.run_id).await.is_err());
    let started = async || executor.runs.started_by(&namespace, &request_id.clone().unwrap(), "print").await;
    assert_eq!(started().await.unwrap(), Some(later));
    forget(&executor, ALL_OLD).await;
    assert_eq!(started().await.unwrap(), None);
}

#[tokio::test]
async fn a_session_of_no_run_goes_once_it_has_ended() {
    let surroundings = Surroundings::with_a_run().await;
    let executor = executor(&surroundings);
    let (namespace, orion) = (Namespace::default(), AgentId::parse("agent_id", "orion").unwrap());
    let description = Description {
        id: orion.clone(),
        role: "auditor".to_owned(),
        capabilities: Vec::new(),
        version: String::new(),
        framework: String::new(),
        metadata: Default::default(),
    };
    executor.agents.register(&namespace, &description, &Author::default()).await.unwrap();
    let new = NewSession { agent_id: orion, run_id: String::new(), context: Default::default() };
    let request_id = RequestId::parse("request_id", "a").unwrap();
    let session = executor.sessions.start(&namespace, new, request_id.as_ref()).await.unwrap();
    assert_eq!(forget(&executor, ALL_OLD).await, 0, "it is open");
    let end = SessionChange { state: Some(SessionState::Cancelled), ..SessionChange::default() };
    executor.sessions.update(&namespace, &session.id, &end, "", |_| Ok(())).await.unwrap();
    assert_eq!(forget(&executor, Keep { time: HOUR, ..ALL_OLD }).await, 0, "it ended lately");
    assert_eq!(forget(&executor, ALL_OLD).await, 1);
    assert!(kept(&surroundings).await.iter().all(|key| key.starts_with("run")));
}
