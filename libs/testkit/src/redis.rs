//! A real Redis server for one test: a free port, a temporary folder, an append-only file.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const STARTUP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// Another process can take the port between its choice and the server's start.
const PORTS_TRIED: usize = 5;

/// A running server. It is killed, and its folder removed, when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    settings: Vec<String>,
    process: Child,
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
            let process = spawn(port, &folder, &settings);
            // From here on a panic kills the process.
            let mut server = Self { port, folder, settings: settings.clone(), process };
            if server.answers() {
                return server;
            }
            log = server.log();
        }
        panic!("redis-server ended at once, {PORTS_TRIED} times: {log}");
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills the server with SIGKILL. Its files stay, for [`RedisServer::restart`].
    ///
    /// # Panics
    /// When the process cannot be killed.
    pub fn kill(&mut self) {
        self.process.kill().expect("a child of this process can be killed");
        self.process.wait().expect("a child of this process can be waited for");
    }

    /// Kills the server if it still runs, and starts it on the same port and files.
    ///
    /// # Panics
    /// When it does not come up again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, &self.folder, &self.settings);
        assert!(self.answers(), "redis-server ended at once: {}", self.log());
    }

    /// Waits for the first `PONG`. False when the process has ended.
    #[track_caller]
    fn answers(&mut self) -> bool {
        let give_up = Instant::now() + STARTUP;
        while Instant::now() < give_up {
            if self.process.try_wait().expect("a child of this process can be waited for").is_some() {
                return false;
            }
            if ping(self.port).is_ok_and(|answer| answer) {
                return true;
            }
            std::thread::sleep(POLL);
        }
        panic!("redis-server on port {} did not answer within {STARTUP:?}: {}", self.port, self.log());
    }

    fn log(&self) -> String {
        let path = self.folder.path().join("redis.log");
        std::fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[track_caller]
fn spawn(port: u16, folder: &TempDir, settings: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder.path());
    command.args(["--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--logfile", "redis.log"]);
    command.args(["--appendfsync", "always", "--maxmemory-policy", "noeviction"]).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot run redis-server ({error}): install it with `apt-get install -y redis-server`")
    })
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

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port can be bound");
    listener.local_addr().expect("a bound listener has an address").port()
}
