//! A worker that was cut off, or stopped, changes nothing anywhere once its lease may be another's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stale;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use nova_client::{Credential, Credentials, Mesh};
use nova_e2e::callers::Callers;
use nova_e2e::line::Lines;
use nova_testkit::redis::RedisServer;
use nova_types::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::Code;

use stale::{
    LEASE, ROLES, assert_completed_well, assert_lost, assert_nothing_landed, complete_well, lease, memory,
    prepare, prove, put, say_all, showing, texts, under,
};

/// Tells a child what to work on: home, token, session.
const STOPPED: &str = "NOVA_E2E_STOPPED_WORKER";

#[test]
fn a_worker_that_was_cut_off_changes_nothing_once_its_task_may_be_anothers() {
    let callers = Callers::of_a_new_mesh();
    callers.block_on(cut_off_and_healed(&callers));
}

#[test]
fn a_worker_that_was_cut_off_changes_nothing_on_redis_either() {
    let redis = RedisServer::start();
    let callers = Callers::of_a_mesh(&["--store", &redis.url()]);
    callers.block_on(cut_off_and_healed(&callers));
}

#[test]
fn a_worker_whose_process_was_stopped_changes_nothing_once_its_task_may_be_anothers() {
    let callers = Callers::of_a_new_mesh();
    callers.block_on(stopped_and_continued(&callers));
}

async fn cut_off_and_healed(callers: &Callers) {
    let lines = Lines::to(&callers.endpoints()).await;
    let first = callers.worker("first", &ROLES, lines.endpoints());
    let second = callers.worker("second", &ROLES, callers.endpoints());
    let session = prepare(&first).await;

    let lost = lease(&first, LEASE).await;
    put(&under(&first, &lost), "before").await.unwrap();
    let proof = prove(&first, &lost).await;
    assert!(!proof.lost);

    lines.cut();
    // Said while it is cut, so all of it arrives when the line is whole again.
    let late = tokio::join!(say_all(&first, &lost, &proof, &session), async {
        let held = lease(&second, 60).await;
        let ends = Timestamp::from_wire(&proof.expire_time.unwrap());
        assert!(SystemClock.now() > ends, "the task was handed on while a proof of it was good");
        // Nobody has written anything under the new lease.
        lines.heal();
        held
    });
    let (said, held) = late;
    said.iter().for_each(assert_lost);
    assert_eq!(texts(&second).await, ["before"]);

    // Healed, it has no proof any more, and the old one is worth nothing.
    assert!(prove(&first, &lost).await.lost);
    assert_lost(&put(&under(&first, &lost), "without a proof").await);
    say_all(&first, &lost, &proof, &session).await.iter().for_each(assert_lost);
    assert_nothing_landed(&second, &session).await;

    put(&under(&second, &held), "the second's").await.unwrap();
    say_all(&first, &lost, &proof, &session).await.iter().for_each(assert_lost);
    let stolen = second.memory().put_memory(showing(&proof, memory("stolen"))).await;
    assert_eq!(stolen.unwrap_err().code(), Code::Unauthenticated, "a proof is its holder's alone");
    complete_well(&second, &held).await;
    say_all(&first, &lost, &proof, &session).await.iter().for_each(assert_lost);

    assert_nothing_landed(&second, &session).await;
    assert_eq!(texts(&second).await, ["the second's", "before"]);
    assert_completed_well(&second, &held).await;
}

async fn stopped_and_continued(callers: &Callers) {
    let second = callers.worker("second", &ROLES, callers.endpoints());
    let session = prepare(&second).await;
    let mut first = StoppedWorker::start(callers, &session);
    first.hold();
    first.signal("STOP");
    let held = lease(&second, 60).await;
    first.go_on();
    first.ended();
    assert_nothing_landed(&second, &session).await;
    assert_eq!(texts(&second).await, ["before"]);
    complete_well(&second, &held).await;
    assert_completed_well(&second, &held).await;
}

/// What the child does; in any other process it does nothing.
#[test]
fn a_child_holds_a_lease_and_goes_on_when_it_is_told() {
    let Ok(told) = std::env::var(STOPPED) else { return };
    let told: Value = serde_json::from_str(&told).unwrap();
    Runtime::new().unwrap().block_on(hold_and_go_on(&told));
}

async fn hold_and_go_on(told: &Value) {
    nova_client::install_crypto_provider();
    let text = |key: &str| told[key].as_str().unwrap().to_owned();
    let credential = Credential::token_from_pem(&text("roots"), text("token")).unwrap();
    let endpoints = serde_json::from_value(told["endpoints"].clone()).unwrap();
    let mesh = Mesh::new(endpoints, Credentials::new(credential).unwrap()).unwrap();
    let lost = lease(&mesh, LEASE).await;
    put(&under(&mesh, &lost), "before").await.unwrap();
    let proof = prove(&mesh, &lost).await;
    std::io::stdout().write_all(b"held\n").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    // Stopped here, and as sure of its lease as before.
    say_all(&mesh, &lost, &proof, &text("session")).await.iter().for_each(assert_lost);
    assert_lost(&put(&under(&mesh, &lost), "stale").await);
    assert!(prove(&mesh, &lost).await.lost);
}

/// This very test binary, as a worker; killed when a test fails before its end.
struct StoppedWorker(Child);

impl StoppedWorker {
    fn start(callers: &Callers, session: &str) -> Self {
        let token = callers.worker_token("first", &ROLES);
        let (endpoints, roots) = (callers.endpoints(), callers.roots());
        let told = json!({"endpoints": endpoints, "roots": roots, "token": token, "session": session});
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "partition::a_child_holds_a_lease_and_goes_on_when_it_is_told", "--nocapture"])
            .env(STOPPED, told.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits until it has a lease, and a proof of it.
    fn hold(&mut self) {
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("held")), "the child ended early");
    }

    fn signal(&self, signal: &str) {
        nova_testkit::send(signal, self.0.id());
    }

    fn go_on(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        self.signal("CONT");
    }

    fn ended(mut self) {
        assert!(self.0.wait().unwrap().success(), "something that the stopped worker said was taken");
    }
}

impl Drop for StoppedWorker {
    fn drop(&mut self) {
        // One that has ended needs no kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
