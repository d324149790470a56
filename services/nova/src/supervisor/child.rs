//! One daemon as a process.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use command_fds::CommandFdExt as _;
use command_fds::FdMapping;
use nova_client::Endpoints;
use nova_identity::authority::Authority;
use nova_node_agent::process::INHERITED;
use nova_runtime::config::{LogFormat, RuntimeConfig};
use nova_runtime::{Handoff, LoopbackAddr, Otlp};
use nova_types::{Clock as _, SpiffeId, SystemClock};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

use super::sockets::Sockets;
use crate::home::{Home, private_folder};

/// How long a daemon may take from its start to its first certificate.
const JOIN_WITHIN: Duration = Duration::from_secs(60);
/// The executable of the process that asks, on Linux also when no path leads to it any more.
const ITSELF: &str = "/proc/self/exe";
/// As much of a log's end holds its last line, bytes.
const LAST: u64 = 16 << 10;

/// What is the same for every start of a daemon.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) name: &'static str,
    pub(crate) home: &'a Home,
    pub(crate) authority: &'a Authority,
    pub(crate) sockets: &'a Sockets,
    pub(crate) endpoints: &'a Endpoints,
    /// The mesh's own collector.
    pub(crate) collector: &'a Otlp,
    pub(crate) store: &'a str,
    /// Whether somebody beyond the mesh's own collector wants metrics.
    pub(crate) pushes_metrics: bool,
    /// Whether the mesh is only to be read.
    pub(crate) reading: bool,
}

/// A started daemon. When its lifeline is dropped, it ends.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Child,
    #[expect(dead_code, reason = "the lifeline is held, not used")]
    lifeline: ChildStdin,
    log: PathBuf,
    /// Where in the log its own lines begin.
    log_begins: u64,
}

impl Spec<'_> {
    /// Starts the daemon: sockets on descriptors from 3 on, the handoff on standard input.
    pub(crate) async fn start(&self) -> anyhow::Result<Started> {
        let config = self.write_config()?;
        let log = self.home.open_log(self.name)?;
        let log_begins = log.metadata()?.len();
        let mut command = Command::new(executable()?);
        command.args(["serve", self.name, "--config"]).arg(config);
        command.env_clear().envs(environment()).env("LISTEN_FDS", self.sockets.all().count().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let handed = (3..).zip(self.sockets.all());
        let handed = handed.map(|(child_fd, socket)| {
            Ok(FdMapping { parent_fd: OwnedFd::from(socket.try_clone()?), child_fd })
        });
        command.fd_mappings(handed.collect::<std::io::Result<_>>()?)?;
        let mut process = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let mut lifeline = process.stdin.take().context("standard input is a pipe")?;
        match lifeline.write_all(self.handoff()?.to_line().as_bytes()).await {
            // It ended already, and says why in its log.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        Ok(Started { process, lifeline, log: self.home.log(self.name), log_begins })
    }

    fn handoff(&self) -> anyhow::Result<Handoff> {
        let domain = self.authority.trust_domain();
        let subject = SpiffeId::service(domain, self.name);
        let token = self.authority.join_token(&subject, SystemClock.now(), JOIN_WITHIN)?;
        Ok(Handoff {
            subject: subject.path().to_owned(),
            join_token: token.token,
            trust_domain: domain.clone(),
            bundle_pem: self.authority.bundle_pem(),
            jwks: self.authority.jwks(),
            endpoints: self.endpoints.clone(),
            otlp: Some(self.collector.clone()),
        })
    }

    fn write_config(&self) -> anyhow::Result<PathBuf> {
        let data_dir = self.home.daemon(self.name);
        private_folder(&data_dir)?;
        let mut runtime = RuntimeConfig {
            data_dir: data_dir.clone(),
            // The node agent keeps none, and need not know a password.
            store: if self.name == "node" { "sqlite" } else { self.store }.to_owned(),
            endpoints: self.endpoints.clone(),
            worker_threads: 2,
            listen_plaintext: self.plaintext()?,
            ..RuntimeConfig::default()
        };
        runtime.telemetry.log_format = LogFormat::Json;
        runtime.telemetry.otlp_metrics = self.pushes_metrics;
        let mut file = toml::Table::new();
        file.insert("runtime".to_owned(), toml::Value::try_from(runtime)?);
        if let Some(own) = self.own_table()? {
            file.insert(self.name.to_owned(), toml::Value::Table(own));
        }
        let path = data_dir.join("config.toml");
        self.home.write_private(&path, &toml::to_string_pretty(&file)?)?;
        Ok(path)
    }

    /// Where it listens without TLS, on a socket that it is handed.
    fn plaintext(&self) -> anyhow::Result<Option<LoopbackAddr>> {
        let Some(socket) = &self.sockets.plaintext else { return Ok(None) };
        Ok(Some(LoopbackAddr::try_from(socket.local_addr()?)?))
    }

    /// What only one of the daemons is told.
    fn own_table(&self) -> anyhow::Result<Option<toml::Table>> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("paths are UTF-8");
        let entry = match self.name {
            "node" => ("runner_command", vec![text(&runner()?)?, "agent".to_owned()].into()),
            "identity" => ("authority_dir", text(&self.home.authority())?.into()),
            "lifecycle" if self.reading => ("drive_runs", false.into()),
            _ => return Ok(None),
        };
        Ok(Some(toml::Table::from_iter([(entry.0.to_owned(), entry.1)])))
    }
}

impl Started {
    /// The last line that it wrote for people; lines of JSON are for programs.
    pub(crate) fn last_words(&self) -> String {
        let log = self.end_of_log().unwrap_or_default();
        let spoken = log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with('{'));
        spoken.unwrap_or("it ended without a word").to_owned()
    }

    fn end_of_log(&self) -> io::Result<String> {
        let mut log = File::open(&self.log)?;
        let length = log.metadata()?.len();
        // A log that was begun anew holds nothing else.
        let own = if length < self.log_begins { 0 } else { self.log_begins };
        let begin = own.max(length.saturating_sub(LAST));
        log.seek(SeekFrom::Start(begin))?;
        let mut end = Vec::new();
        log.take(LAST).read_to_end(&mut end)?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    }
}

/// This very executable: by its path, whose name its processes bear, while that leads to it; else, when its file was
/// replaced or removed since it started, as the kernel keeps it.
pub(crate) fn executable() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("this executable has no path")?;
    Ok(if path.exists() { path } else { PathBuf::from(ITSELF) })
}

/// What the node agent runs agents with, for as long as it lives: itself, whatever its file has become.
fn runner() -> anyhow::Result<PathBuf> {
    let itself = PathBuf::from(ITSELF);
    if itself.exists() { Ok(itself) } else { executable() }
}

/// What a daemon may see of our environment: what an agent's process sees of its, and settings of its own.
fn environment() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().filter(|(key, _)| {
        let key = key.to_string_lossy();
        INHERITED.contains(&key.as_ref()) || (key.starts_with("NOVA_") && key.contains("__"))
    })
}
