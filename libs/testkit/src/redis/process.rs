//! A process of Redis, server or sentinel.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use tempfile::TempDir;

const STARTUP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// Killed, and its folder removed, when dropped.
#[derive(Debug)]
pub(super) struct Process {
    port: u16,
    folder: TempDir,
    child: Child,
}

impl Process {
    #[track_caller]
    pub(super) fn start(port: u16, folder: TempDir, command: impl FnOnce(&Path) -> Command) -> Self {
        let child = spawn(command(folder.path()));
        Self { port, folder, child }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().expect("a child of this process can be killed");
        self.child.wait().expect("a child of this process can be waited for");
    }

    #[track_caller]
    pub(super) fn restart(&mut self, command: impl FnOnce(&Path) -> Command) {
        self.kill();
        self.child = spawn(command(self.folder.path()));
    }

    /// Waits for the first `PONG`. False when the process has ended.
    #[track_caller]
    pub(super) fn answers(&mut self) -> bool {
        let give_up = Instant::now() + STARTUP;
        while Instant::now() < give_up {
            if self.child.try_wait().expect("a child of this process can be waited for").is_some() {
                return false;
            }
            if ping(self.port).is_ok_and(|answer| answer) {
                return true;
            }
            std::thread::sleep(POLL);
        }
        panic!("redis-server on port {} did not answer within {STARTUP:?}: {}", self.port, self.log());
    }

    pub(super) fn log(&self) -> String {
        let path = self.folder.path().join("redis.log");
        std::fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot run redis-server ({error}): install it with `apt-get install -y redis-server`")
    })
}

/// Asks whoever listens on a port something.
pub(super) fn query<T: FromRedisValue>(port: u16, words: &[&str]) -> redis::RedisResult<T> {
    let mut connection = redis::Client::open(("127.0.0.1", port))?.get_connection()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
}

/// Whether a replica has its primary's data, and hears of changes.
pub(super) fn is_linked(port: u16) -> bool {
    query(port, &["INFO", "replication"]).is_ok_and(|info: String| info.contains("master_link_status:up"))
}

fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    // A server with a password is up, too. One that still loads its files says so.
    Ok(&answer == b"+PONG" || &answer == b"-NOAU")
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port can be bound");
    listener.local_addr().expect("a bound listener has an address").port()
}
