//! Whatever is down for longer than leases last: when it is back, whoever held a task still holds it.

use std::time::{Duration, Instant};

use nova_chaos::{
    history::{Answer, Grant, Job, Outcome, State},
    recorder::Recorder,
    seed::Seed,
};
use nova_testkit::{eventually, redis::RedisServer};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    caller::{Caller, LEASE, Targets},
    daemon::{Daemon, signal},
};

/// Longest that everything may take to be back.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task with a single attempt, and whoever holds it.
struct Held {
    caller: Caller,
    rival: Caller,
    grant: Grant,
    given: Instant,
}

impl Held {
    async fn by(daemon: &Daemon) -> Self {
        let begun = Instant::now();
        let recorder = Recorder::new(move || i64::try_from(begun.elapsed().as_micros()).unwrap());
        let targets = Targets::default();
        targets.set([daemon.address()]);
        let caller = |number| Caller::new(recorder.clone(), targets.clone(), number, Seed::new(1));
        let (mut caller, rival) = (caller(1), caller(2));
        let job = Job { queue: "q".into(), max_attempts: 1, ..Job::default() };
        assert!(matches!(caller.enqueue(vec![job]).await, Answer::Stored(..)));
        let grant = caller.lease(1).await.pop().expect("a task is ready");
        Self { caller, rival, grant, given: Instant::now() }
    }

    /// Waits until the lease has ended, had nobody been away.
    fn outlast(&self) {
        let lease = Duration::from_micros(LEASE.try_into().unwrap());
        eventually("the lease ends", PATIENCE, || (self.given.elapsed() > lease * 2).then_some(()));
    }

    /// Nobody else is given the task, and its holder completes it.
    async fn completes(mut self, daemon: &Daemon) {
        self.caller.targets.set([daemon.address()]);
        assert_eq!(self.rival.lease(1).await, []);
        let done = Outcome::Completed("done".into());
        let begun = Instant::now();
        let mut settled = self.caller.settle(&self.grant.lease, &done).await;
        while settled == Answer::Unknown {
            assert!(begun.elapsed() < PATIENCE, "nobody answers");
            settled = self.caller.settle(&self.grant.lease, &done).await;
        }
        assert_eq!(settled, Answer::Settled(State::Completed));
    }
}

async fn a_daemon_is_down(store: &str) {
    let folder = TempDir::new().unwrap();
    let mut daemon = Daemon::start(folder.path(), store);
    let held = Held::by(&daemon).await;
    daemon.kill();
    held.outlast();
    daemon.restart();
    held.completes(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_down_burns_no_attempt_on_sqlite() {
    a_daemon_is_down("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_down_burns_no_attempt_on_redis() {
    a_daemon_is_down(&RedisServer::start().url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_stopped_burns_no_attempt() {
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start(folder.path(), "sqlite");
    let held = Held::by(&daemon).await;
    daemon.stop();
    held.outlast();
    daemon.go_on();
    held.completes(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_down_burns_no_attempt() {
    let (mut redis, folder) = (RedisServer::start(), TempDir::new().unwrap());
    let daemon = Daemon::start(folder.path(), &redis.url());
    let held = Held::by(&daemon).await;
    redis.kill();
    held.outlast();
    redis.restart();
    held.completes(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_stopped_burns_no_attempt() {
    let (redis, folder) = (RedisServer::start(), TempDir::new().unwrap());
    let daemon = Daemon::start(folder.path(), &redis.url());
    let held = Held::by(&daemon).await;
    signal(redis.pid(), Signal::STOP);
    held.outlast();
    signal(redis.pid(), Signal::CONT);
    held.completes(&daemon).await;
}
