//! The decision point inside a daemon.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use nova_authz::{Batch, Config, DecisionSink, Module, PolicyPoint, ReportError, Snapshot};
use nova_rpc::{Authorizer as _, Credential, Decision, Question};
use nova_types::{HeldClock, SpiffeId, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const ENQUEUE: &str = "nova.queue.v1.QueueService/Enqueue";
const AGENTS_MAY: &str = "package nova.authz\n\
    decision := {\"allow\": \"agent\" in input.roles, \"why\": \"agents may\"}";

fn point(data_dir: Option<&Path>) -> PolicyPoint {
    let clock = Arc::new(HeldClock::at(Timestamp::from_micros(1_000_000)));
    PolicyPoint::with_config("queue", data_dir, clock, Config::default()).unwrap()
}

fn snapshot(rego: &str) -> Snapshot {
    Snapshot::new(vec![Module { id: "authz.rego".to_owned(), rego: rego.to_owned() }], "{}").unwrap()
}

fn ask(point: &PolicyPoint, role: &str, method: &str) -> Decision {
    let subject = SpiffeId::parse("subject", "spiffe://nova.local/agent/orion").unwrap();
    let roles = [role.to_owned()];
    let credential = Credential::Certificate;
    point.authorize(&Question {
        subject: Some(&subject),
        roles: &roles,
        credential,
        service: "queue",
        method,
    })
}

#[test]
fn before_the_first_revision_only_what_the_mesh_needs_to_come_up_is_allowed() {
    let point = point(None);
    for (role, method) in [
        ("joining", "nova.identity.v1.IdentityService/AttestWorkload"),
        ("daemon", "nova.identity.v1.IdentityService/RenewX509"),
        ("daemon", "nova.policy.v1.PolicyService/WatchSnapshots"),
        ("daemon", "nova.policy.v1.PolicyService/ReportDecisions"),
    ] {
        assert_eq!(ask(&point, role, method), Decision::Allow, "{method}");
    }
    assert!(!*point.loaded().borrow());
}

#[test]
fn before_the_first_revision_any_other_call_is_not_decided() {
    for role in ["agent", "daemon", "operator", "admin"] {
        assert!(matches!(ask(&point(None), role, ENQUEUE), Decision::Undecided(_)), "{role}");
    }
}

#[test]
fn a_decision_that_takes_too_long_is_none_and_the_caller_may_try_again() {
    let clock = Arc::new(HeldClock::at(Timestamp::from_micros(1_000_000)));
    let config = Config { evaluation_limit_ms: 1, ..Config::default() };
    let point = PolicyPoint::with_config("queue", None, clock, config).unwrap();
    let long = "count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); a == b]) > 0";
    let slow = format!("package nova.authz\ndecision := {{\"allow\": true, \"why\": \"x\"}} if {long}");
    point.publish(snapshot(&slow)).unwrap();
    let told = ask(&point, "agent", ENQUEUE);
    assert!(matches!(&told, Decision::Undecided(why) if why.contains("longer than 1 ms")), "{told:?}");
}

#[test]
fn a_published_revision_is_in_force_at_once() {
    let point = point(None);
    point.publish(snapshot(AGENTS_MAY)).unwrap();
    assert!(*point.loaded().borrow());
    assert_eq!(ask(&point, "agent", ENQUEUE), Decision::Allow);
    assert!(matches!(ask(&point, "worker", ENQUEUE), Decision::Deny(_)));
    point.publish(snapshot("package nova.authz\ndecision := {\"allow\": false, \"why\": \"no\"}")).unwrap();
    assert!(matches!(ask(&point, "agent", ENQUEUE), Decision::Deny(_)));
}

#[test]
fn a_revision_that_does_not_compile_leaves_the_old_one_in_force() {
    let point = point(None);
    point.publish(snapshot(AGENTS_MAY)).unwrap();
    let before = point.status();
    assert!(point.publish(snapshot("package nova.authz\ndecision := {{{")).is_err());
    assert_eq!(point.status(), before);
    assert_eq!(ask(&point, "agent", ENQUEUE), Decision::Allow);
}

/// Hands on what it is given, after failing as often as it is told to.
#[derive(Debug)]
struct Record {
    failures: Mutex<u32>,
    taken: mpsc::UnboundedSender<Batch>,
}

#[async_trait]
impl DecisionSink for Record {
    async fn record(&self, batch: &Batch) -> Result<(), ReportError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(ReportError { retryable: true, message: "away".to_owned() });
        }
        self.taken.send(batch.clone()).unwrap();
        Ok(())
    }
}

fn record(failures: u32) -> (Record, mpsc::UnboundedReceiver<Batch>) {
    let (taken, batches) = mpsc::unbounded_channel();
    (Record { failures: Mutex::new(failures), taken }, batches)
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test has no runtime to name its tasks")]
async fn decisions_are_kept_until_the_record_takes_them() {
    let point = point(None);
    point.publish(snapshot(AGENTS_MAY)).unwrap();
    let denied = ask(&point, "worker", ENQUEUE);
    ask(&point, "agent", ENQUEUE);
    let (record, mut batches) = record(2);
    let shutdown = CancellationToken::new();
    let reporter = tokio::spawn(point.clone().run_report(record, shutdown.clone()));
    let batch = batches.recv().await.unwrap();
    assert_eq!(batch.decisions.len(), 2);
    assert_eq!(Decision::Deny(batch.decisions[0].id), denied);
    shutdown.cancel();
    reporter.await.unwrap();
}

/// While each report is under way a call is decided.
#[derive(Debug)]
struct Busy {
    point: PolicyPoint,
    reports: mpsc::UnboundedSender<Instant>,
}

#[async_trait]
impl DecisionSink for Busy {
    async fn record(&self, _: &Batch) -> Result<(), ReportError> {
        ask(&self.point, "agent", ENQUEUE);
        self.reports.send(Instant::now()).unwrap();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test has no runtime to name its tasks")]
async fn calls_under_steady_load_are_reported_ten_times_a_second_and_not_one_by_one() {
    let point = point(None);
    point.publish(snapshot(AGENTS_MAY)).unwrap();
    ask(&point, "agent", ENQUEUE);
    let (reports, mut told) = mpsc::unbounded_channel();
    let busy = Busy { point: point.clone(), reports };
    let reporter = tokio::spawn(point.run_report(busy, CancellationToken::new()));
    let first = told.recv().await.unwrap();
    let second = told.recv().await.unwrap();
    assert!(second - first >= Duration::from_millis(100), "after {:?}", second - first);
    reporter.abort();
}

#[tokio::test]
async fn what_waits_at_the_end_is_reported() {
    let point = point(None);
    point.publish(snapshot(AGENTS_MAY)).unwrap();
    ask(&point, "worker", ENQUEUE);
    let (record, mut batches) = record(0);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    point.run_report(record, shutdown).await;
    assert_eq!(batches.try_recv().unwrap().decisions.len(), 1);
}

#[tokio::test]
async fn reports_are_not_themselves_recorded() {
    let point = point(None);
    ask(&point, "daemon", "nova.policy.v1.PolicyService/ReportDecisions");
    let (record, mut batches) = record(0);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    point.run_report(record, shutdown).await;
    assert!(batches.try_recv().is_err());
}

#[tokio::test]
async fn a_flood_of_allowed_calls_is_recorded_in_part_and_the_rest_is_counted() {
    let clock = Arc::new(HeldClock::at(Timestamp::from_micros(1_000_000)));
    let config = Config { waiting_decisions: 20, record_allowed_per_second: 1, ..Config::default() };
    let point = PolicyPoint::with_config("queue", None, clock, config).unwrap();
    point.publish(snapshot(AGENTS_MAY)).unwrap();
    for _ in 0..1_000 {
        assert_eq!(ask(&point, "agent", ENQUEUE), Decision::Allow);
    }
    assert!(matches!(ask(&point, "worker", ENQUEUE), Decision::Deny(_)));
    let (record, mut batches) = record(0);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    point.run_report(record, shutdown).await;
    let batch = batches.try_recv().unwrap();
    assert!((21..100).contains(&batch.decisions.len()), "the denial and a burst");
    assert_eq!(batch.decisions.len() as u64 + batch.dropped, 1_001);
}
