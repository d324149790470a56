//! A primary and its replica, watched by three sentinels.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::RedisServer;
use super::process::{self, Process, free_port};
use crate::eventually;

/// The name that the sentinels watch the primary under.
const SERVICE: &str = "nova";
const SENTINELS: usize = 3;
const QUORUM: usize = 2;
/// Sentinels hear of each other through the primary, every two seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that runs; killed when this is dropped.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The primary at first.
    pub primary: RedisServer,
    /// Its replica at first.
    pub replica: RedisServer,
    sentinels: Vec<Process>,
}

impl RedisSentinel {
    /// Starts all. A primary that is silent for `timeout` is taken for dead.
    ///
    /// # Panics
    /// When they do not come to know each other.
    #[track_caller]
    pub fn start(timeout: Duration) -> Self {
        let settings = ["--databases", "1024", "--repl-diskless-sync-delay", "0"];
        let primary = RedisServer::start_with(&settings);
        let of = format!("127.0.0.1 {}", primary.port());
        let replica = RedisServer::start_with(&[&settings[..], &["--replicaof", &of]].concat());
        replica.catch_up_with(&primary);
        let sentinels = (0..SENTINELS).map(|_| sentinel(primary.port(), timeout)).collect();
        let started = Self { primary, replica, sentinels };
        started.meet();
        started
    }

    /// `redis-sentinel://…` with every sentinel, and database 0.
    pub fn url(&self) -> String {
        self.database(0)
    }

    /// The same with another database, below 1,024.
    pub fn database(&self, number: usize) -> String {
        let sentinels: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis-sentinel://{}/{SERVICE}/{number}", sentinels.join(","))
    }

    /// Lets the sentinels promote the replica while the primary is well.
    ///
    /// # Panics
    /// When they refuse.
    #[track_caller]
    pub fn promote(&self) {
        let sentinel = self.sentinels[0].port();
        process::query::<()>(sentinel, &["SENTINEL", "FAILOVER", SERVICE]).expect("the sentinels know all");
    }

    pub(super) fn processes(&self) -> Vec<(u32, &Path)> {
        let servers = [&self.primary.process, &self.replica.process];
        servers.into_iter().chain(&self.sentinels).map(|process| (process.pid(), process.folder())).collect()
    }

    /// Waits until each sentinel knows the others and the replica: before, they would not agree on a failover.
    #[track_caller]
    fn meet(&self) {
        for sentinel in &self.sentinels {
            eventually("the sentinels know all", PATIENCE, || {
                let facts: Vec<(String, String)> =
                    process::query(sentinel.port(), &["SENTINEL", "MASTER", SERVICE]).ok()?;
                let number = |name: &str| {
                    facts.iter().find(|(fact, _)| fact == name).and_then(|(_, value)| value.parse().ok())
                };
                let all =
                    number("num-other-sentinels") == Some(SENTINELS - 1) && number("num-slaves") == Some(1);
                all.then_some(())
            });
        }
    }
}

#[track_caller]
fn sentinel(primary: u16, timeout: Duration) -> Process {
    let (port, folder) = (free_port(), TempDir::new().expect("a temporary folder can be made"));
    let mut process = Process::start(port, folder, |folder| command(folder, port, primary, timeout));
    assert!(process.answers(), "the sentinel ended at once: {}", process.log());
    process
}

fn command(folder: &Path, port: u16, primary: u16, timeout: Duration) -> Command {
    let (file, timeout) = (folder.join("sentinel.conf"), timeout.as_millis());
    let settings = format!(
        "port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile redis.log\n\
         sentinel monitor {SERVICE} 127.0.0.1 {primary} {QUORUM}\n\
         sentinel down-after-milliseconds {SERVICE} {timeout}\n\
         sentinel failover-timeout {SERVICE} {failover}\n",
        folder = folder.display(),
        failover = 5 * timeout,
    );
    std::fs::write(&file, settings).expect("a temporary folder can be written to");
    let mut command = Command::new("redis-server");
    command.arg(file).arg("--sentinel");
    command
}
