//! A primary and its replica, watched by three sentinels; with TLS when it is asked for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{self, Process, free_port};
use super::{RedisServer, RedisTls};
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
        let primary = server(&[]);
        let replica = replica_of(&primary, primary.port(), &[]);
        let of = primary.port();
        Self::watch(primary, replica, |port| plain_sentinel(port, of, timeout))
    }

    /// The same, all of whom speak TLS with each other, and with clients: `rediss-sentinel://…`, which names every
    /// sentinel.
    ///
    /// # Panics
    /// See [`RedisSentinel::start`].
    #[track_caller]
    pub fn start_with_tls(timeout: Duration, tls: &RedisTls) -> (Self, String) {
        let with_tls = || {
            let port = free_port();
            (port, [tls.settings(port), ["--tls-replication", "yes"].map(str::to_owned).into()].concat())
        };
        let (port, settings) = with_tls();
        let primary = server(&settings);
        let replica = replica_of(&primary, port, &with_tls().1);
        let mut ports = Vec::new();
        let started = Self::watch(primary, replica, |plain| {
            let (listens, settings) = with_tls();
            ports.push(listens);
            format!("{}{}", plain_sentinel(plain, port, timeout), lines(&settings))
        });
        let url = format!("rediss-sentinel://{}/{SERVICE}?ca={}", addresses(ports), tls.ca().display());
        (started, url)
    }

    /// Lets sentinels watch both, each with the settings for its port.
    #[track_caller]
    fn watch(primary: RedisServer, replica: RedisServer, mut settings: impl FnMut(u16) -> String) -> Self {
        let mut start = || {
            let port = free_port();
            sentinel(port, &settings(port))
        };
        let sentinels = (0..SENTINELS).map(|_| start()).collect();
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
        let sentinels = addresses(self.sentinels.iter().map(Process::port));
        format!("redis-sentinel://{sentinels}/{SERVICE}/{number}")
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
fn server(settings: &[String]) -> RedisServer {
    let same = ["--databases", "1024", "--repl-diskless-sync-delay", "0"];
    let settings: Vec<_> = same.into_iter().chain(settings.iter().map(String::as_str)).collect();
    RedisServer::start_with(&settings)
}

/// A replica that asks its primary at a port, and has all that it has.
#[track_caller]
fn replica_of(primary: &RedisServer, port: u16, settings: &[String]) -> RedisServer {
    let of = ["--replicaof".to_owned(), format!("127.0.0.1 {port}")];
    let replica = server(&[settings, &of].concat());
    replica.catch_up_with(primary);
    replica
}

#[track_caller]
fn sentinel(port: u16, settings: &str) -> Process {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut process = Process::start(port, folder, |folder| command(folder, settings));
    assert!(process.answers(), "the sentinel ended at once: {}", process.log());
    process
}

/// What a sentinel of a primary is told that is silent for `timeout` when it is dead.
fn plain_sentinel(port: u16, primary: u16, timeout: Duration) -> String {
    let timeout = timeout.as_millis();
    format!(
        "port {port}\nbind 127.0.0.1\nlogfile redis.log\n\
         sentinel monitor {SERVICE} 127.0.0.1 {primary} {QUORUM}\n\
         sentinel down-after-milliseconds {SERVICE} {timeout}\n\
         sentinel failover-timeout {SERVICE} {failover}\n",
        failover = 5 * timeout,
    )
}

/// Arguments as the lines of a file.
fn lines(settings: &[String]) -> String {
    settings.chunks(2).map(|pair| format!("{} {}\n", pair[0].trim_start_matches('-'), pair[1])).collect()
}

fn addresses(ports: impl IntoIterator<Item = u16>) -> String {
    ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

fn command(folder: &Path, settings: &str) -> Command {
    let file = folder.join("sentinel.conf");
    let settings = format!("dir {}\n{settings}", folder.display());
    std::fs::write(&file, settings).expect("a temporary folder can be written to");
    let mut command = Command::new("redis-server");
    command.arg(file).arg("--sentinel");
    command
}
