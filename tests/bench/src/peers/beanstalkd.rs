//! beanstalkd with its log, through a client that does just enough: commands sent in groups on each connection.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::figures::{Figures, LIVES, Measured};
use crate::load::PAYLOAD;
use crate::{Arguments, Scenario};

pub(super) const NAME: &str = "beanstalkd";

/// Connections of producers, and of workers.
const CONNECTIONS: usize = 4;
/// How long it takes to come up.
const STARTUP: Duration = Duration::from_secs(5);
/// Longest wait for the jobs that are left.
const DRAIN: Duration = Duration::from_secs(120);

/// A server with a log in a folder of its own.
#[derive(Debug)]
struct Server {
    port: u16,
    process: Child,
    #[expect(dead_code, reason = "the folder is held, not used")]
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(super) async fn measure(arguments: &Arguments, figures: &mut Figures) -> anyhow::Result<()> {
    ensure!(super::is_installed(NAME, "-v"), "beanstalkd is not installed");
    // As many commands under way as Nova has calls, or as a batch holds.
    for (wanted, scenario, group) in [
        (Scenario::Unary, "unary-128", 128 / CONNECTIONS),
        (Scenario::Unary, "unary-256", 256 / CONNECTIONS),
        (Scenario::Batched, "batched-64", 128),
    ] {
        if !arguments.wants(wanted) {
            continue;
        }
        let server = start().await?;
        lives(&server, group, Duration::from_secs(1)).await?;
        let rate = lives(&server, group, arguments.seconds()).await?;
        let settings = format!(
            "log, its default fsync each 50 ms; {CONNECTIONS} + {CONNECTIONS} connections, {group} commands under way on each; {PAYLOAD} B"
        );
        figures.add(&Measured { scenario, system: NAME, settings: &settings }, LIVES, rate, "1/s");
    }
    Ok(())
}

async fn start() -> anyhow::Result<Server> {
    let folder = TempDir::new()?;
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut command = Command::new(NAME);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-b"]).arg(folder.path());
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let server = Server { port, process, folder };
    let give_up = Instant::now() + STARTUP;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        ensure!(Instant::now() < give_up, "it does not come up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(server)
}

/// What producers and workers share.
#[derive(Debug, Default)]
struct Progress {
    put: AtomicU64,
    deleted: AtomicU64,
    all_put: AtomicBool,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.all_put.load(Relaxed) && self.deleted.load(Relaxed) >= self.put.load(Relaxed)
    }
}

async fn lives(server: &Server, group: usize, span: Duration) -> anyhow::Result<f64> {
    let progress = Arc::new(Progress::default());
    let started = Instant::now();
    let (mut producers, mut workers) = (JoinSet::new(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let (here, there) = (connect(server).await?, connect(server).await?);
        producers.spawn(produce(here, group, started + span, Arc::clone(&progress)));
        workers.spawn(work(there, group, Arc::clone(&progress)));
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    progress.all_put.store(true, Relaxed);
    let mut last = started;
    let drained = async {
        while let Some(ended) = workers.join_next().await {
            last = last.max(ended??);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DRAIN, drained).await.context("jobs are left that nobody deletes")??;
    let (put, deleted) = (progress.put.load(Relaxed), progress.deleted.load(Relaxed));
    ensure!(put == deleted, "{deleted} jobs deleted of {put}");
    Ok(put as f64 / last.duration_since(started).as_secs_f64())
}

type Connection = BufReader<TcpStream>;

async fn connect(server: &Server) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::with_capacity(64 << 10, stream))
}

async fn produce(
    mut connection: Connection,
    group: usize,
    until: Instant,
    progress: Arc<Progress>,
) -> anyhow::Result<()> {
    let put = [format!("put 0 0 60 {PAYLOAD}\r\n").as_bytes(), &[b'x'; PAYLOAD], b"\r\n"].concat();
    let puts = put.repeat(group);
    let mut line = String::new();
    while Instant::now() < until {
        connection.get_mut().write_all(&puts).await?;
        for _ in 0..group {
            let answer = read(&mut connection, &mut line).await?;
            ensure!(answer.starts_with("INSERTED "), "put was answered {answer:?}");
        }
        progress.put.fetch_add(group as u64, Relaxed);
    }
    Ok(())
}

/// Reserves and deletes until all is done; answers when it deleted last.
async fn work(mut connection: Connection, group: usize, progress: Arc<Progress>) -> anyhow::Result<Instant> {
    let reserve = "reserve-with-timeout 0\r\n".repeat(group);
    let (mut line, mut body) = (String::new(), vec![0; PAYLOAD + 2]);
    let mut last = Instant::now();
    while !progress.is_done() {
        connection.get_mut().write_all(reserve.as_bytes()).await?;
        let mut deletes = String::new();
        let mut held = 0;
        for _ in 0..group {
            let answer = read(&mut connection, &mut line).await?;
            if answer == "TIMED_OUT" {
                continue;
            }
            let Some((id, _)) = answer.strip_prefix("RESERVED ").and_then(|rest| rest.split_once(' ')) else {
                bail!("reserve was answered {answer:?}");
            };
            deletes.push_str(&format!("delete {id}\r\n"));
            held += 1;
            connection.read_exact(&mut body).await?;
        }
        if held == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        connection.get_mut().write_all(deletes.as_bytes()).await?;
        for _ in 0..held {
            let answer = read(&mut connection, &mut line).await?;
            ensure!(answer == "DELETED", "delete was answered {answer:?}");
        }
        last = Instant::now();
        progress.deleted.fetch_add(held, Relaxed);
    }
    Ok(last)
}

async fn read<'a>(connection: &mut Connection, line: &'a mut String) -> anyhow::Result<&'a str> {
    line.clear();
    connection.read_line(line).await?;
    Ok(line.trim_end())
}
