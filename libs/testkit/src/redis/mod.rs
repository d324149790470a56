//! Real Redis servers for tests: one, a cluster, or a pair that sentinels watch. Each has a free port, a temporary
//! folder, and an append-only file.

mod cluster;
mod process;
mod sentinel;
mod shared;
mod tls;

use std::process::Command;
use std::time::Duration;

use redis::FromRedisValue;
use tempfile::TempDir;

pub use self::cluster::RedisCluster;
use self::process::{Process, free_port};
pub use self::sentinel::RedisSentinel;
pub use self::shared::{shared_cluster, shared_sentinel};
pub use self::tls::RedisTls;
use crate::eventually;

/// Another process can take the port between its choice and the server's start.
const PORTS_TRIED: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It is killed, and its folder removed, when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    settings: Vec<String>,
}

impl RedisServer {
    /// Starts a server that keeps everything (`appendonly yes`, `appendfsync always`, `maxmemory-policy
    /// noeviction`) and waits until it answers. With Redis's own default of `everysec` a killed server can
    /// lose its last two seconds: it puts writes to the file off while a sync runs, but answers.
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start; the message says what to do.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// [`RedisServer::start`] with further settings, such as `["--maxmemory-policy", "allkeys-lru"]`.
    ///
    /// # Panics
    /// See [`RedisServer::start`].
    #[track_caller]
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let mut log = String::new();
        for _ in 0..PORTS_TRIED {
            let folder = TempDir::new().expect("a temporary folder can be made");
            let port = free_port();
            let mut process = Process::start(port, folder, |folder| command(port, folder, &settings));
            if process.answers() {
                return Self { process, settings };
            }
            log = process.log();
        }
        panic!("redis-server ended at once, {PORTS_TRIED} times: {log}");
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks the server something, on a connection for this alone.
    ///
    /// # Panics
    /// When it does not answer, or otherwise than as a `T`.
    #[track_caller]
    pub fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_query(words).unwrap_or_else(|error| panic!("{}: {error}", words.join(" ")))
    }

    /// The same of a server that may be away.
    ///
    /// # Errors
    /// What the connection or the server says.
    pub fn try_query<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        process::query(self.port(), words)
    }

    /// Waits until this replica has all that its primary has now.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn catch_up_with(&self, primary: &Self) {
        let all = primary.replicated("master_repl_offset").max(1);
        eventually("the replica catches up", PATIENCE, || {
            process::is_linked(self.port()).then_some(())?;
            (self.replicated("slave_repl_offset") >= all).then_some(())
        });
    }

    /// A number out of what the server says of its replication.
    fn replicated(&self, name: &str) -> u64 {
        let info: String = self.query(&["INFO", "replication"]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("0");
        line.trim().parse().expect("an offset is a number")
    }

    /// Kills the server with SIGKILL. Its files stay, for [`RedisServer::restart`].
    ///
    /// # Panics
    /// When the process cannot be killed.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the server if it still runs, and starts it on the same port and files.
    ///
    /// # Panics
    /// When it does not come up again.
    #[track_caller]
    pub fn restart(&mut self) {
        let (port, settings) = (self.port(), &self.settings);
        self.process.restart(|folder| command(port, folder, settings));
        assert!(self.process.answers(), "redis-server ended at once: {}", self.process.log());
    }
}

fn command(port: u16, folder: &std::path::Path, settings: &[String]) -> Command {
    let mut command = Command::new("redis-server");
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder);
    command.args(["--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--logfile", "redis.log"]);
    command.args(["--appendfsync", "always", "--maxmemory-policy", "noeviction"]).args(settings);
    command
}
