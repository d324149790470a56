//! The processes of this node, for those who start, stop and watch them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nova_types::{AgentId, Clock, ProcessId};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::journal::Journal;
use super::launch::Launch;
use super::limits::OpenFiles;
use super::log::{Line, Log, Source};
use super::old_logs;
use super::spec::{Program, Spec};
use super::status::Process;
use super::supervision::Supervision;
use super::table::{Entry, Phase, Reserved, Table, Watcher};
use super::usage;
use crate::config::Config;
use crate::credentials::AgentCredentials;
use crate::error::Error;

/// Variables that every process inherits.
pub type Environment = Vec<(String, OsString)>;

/// What the supervisor takes from outside.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Directory of the daemon: its journal and logs.
    pub data: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What agents' processes prove themselves with.
    pub credentials: Arc<dyn AgentCredentials>,
    /// Variables that every process inherits.
    pub environment: Environment,
}

/// The processes of this node.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    supervisions: TaskTracker,
}

/// What all supervisions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) table: Arc<Table>,
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) open_files: OpenFiles,
    credentials: Arc<dyn AgentCredentials>,
    environment: Environment,
    logs: PathBuf,
}

/// What a request to start a process led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// The process.
    pub process: Process,
    /// Whether it ran before.
    pub was_running: bool,
}

impl Supervisor {
    /// Takes the data directory, and ends what a daemon that was killed left running there. Blocks while it does.
    pub fn open(config: Config, sources: Sources) -> std::io::Result<Self> {
        let logs = sources.data.join("logs");
        std::fs::create_dir_all(&logs)?;
        if let Err(error) = old_logs::sweep(&logs, config.kept_processes) {
            tracing::warn!(%error, "logs of earlier daemons are left");
        }
        let journal = Journal::open(&sources.data)?;
        for process in journal.recover()? {
            tracing::warn!(%process, "ended a process that an earlier daemon left running");
        }
        let table = Arc::new(Table::new(config.max_processes, config.kept_processes));
        let shared = Shared {
            table,
            journal,
            logs,
            clock: sources.clock,
            open_files: OpenFiles::raise()?,
            credentials: sources.credentials,
            environment: sources.environment,
            config,
        };
        Ok(Self { shared: Arc::new(shared), supervisions: TaskTracker::new() })
    }

    /// Starts a process; one that runs with the same spec is left alone. Dropped midway, the start goes on.
    pub async fn start(&self, spec: Spec) -> Result<Started, Error> {
        self.shared.resolve(&spec.program)?;
        let shared = &self.shared;
        let new_log = |id: &ProcessId| Log::new(&shared.logs, id, shared.config.logs);
        let (entry, was_running) = match shared.table.reserve(spec, new_log)? {
            Reserved::There(entry) => (entry, true),
            Reserved::New(entry) => {
                let supervision = Supervision::new(Arc::clone(shared), Arc::clone(&entry));
                // Not a task of the runtime: it ends with its process, and `drain` waits for it.
                self.supervisions.spawn(supervision.run());
                (entry, false)
            }
        };
        Ok(Started { process: first_start(&entry).await?, was_running })
    }

    /// Ends a process: SIGTERM to its group, after the grace SIGKILL. Answers when all of it has ended.
    pub async fn stop(&self, id: &ProcessId, grace: Duration) -> Result<Process, Error> {
        let entry = self.shared.table.entry(id)?;
        entry.stop.send_replace(Some(grace));
        let is_over = |phase: &Phase| match phase {
            Phase::Starting => false,
            Phase::Started(process) => process.state.is_final(),
            Phase::Refused(_) => true,
        };
        entry.phase().wait_for(is_over).await.map_err(|error| Error::Internal(error.to_string()))?;
        entry.process().ok_or_else(|| Error::NotFound(id.clone()))
    }

    /// Reads one process.
    pub fn get(&self, id: &ProcessId) -> Result<Process, Error> {
        self.shared.table.get(id)
    }

    /// All processes with these labels, by id.
    pub fn list(&self, labels: &BTreeMap<String, String>) -> Vec<Process> {
        let mut processes = self.shared.table.list();
        processes.retain(|process| process.spec.has_labels(labels));
        processes
    }

    /// All processes as they are now, and what tells of their changes from now on.
    pub fn watch(&self) -> (Vec<Process>, Watcher) {
        Watcher::new(Arc::clone(&self.shared.table))
    }

    /// Reads the log of a process from its last `tail` lines on.
    pub fn follow(&self, id: &ProcessId, tail: usize) -> Result<Follower, Error> {
        let entry = self.shared.table.entry(id)?;
        let (next, written) = (entry.log.tail(tail), entry.log.subscribe());
        Ok(Follower { next, written, phase: entry.phase(), entry })
    }

    /// Ends all processes side by side and starts none from now on. Answers when all have ended.
    pub async fn drain(&self, grace: Duration) {
        self.shared.table.close();
        for entry in self.shared.table.live() {
            entry.stop.send_replace(Some(grace));
        }
        self.supervisions.close();
        self.supervisions.wait().await;
    }

    /// Takes what the processes use into their accounts; tells whether any runs.
    pub async fn sample_usage(&self) -> bool {
        let live = self.shared.table.live();
        if live.is_empty() {
            return false;
        }
        let pid = |entry: &Entry| i32::try_from(entry.process()?.pid).ok();
        let leaders = live.iter().filter_map(|entry| pid(entry)).collect();
        let groups = tokio::task::spawn_blocking(move || usage::sample_groups(&leaders)).await;
        let groups = groups.unwrap_or_default();
        for entry in live {
            if let Some(sample) = pid(&entry).and_then(|pid| groups.get(&pid)) {
                entry.account.record(*sample);
            }
        }
        true
    }

    /// The processes that have not ended for good, each with its resident memory in bytes.
    pub fn memory(&self) -> Vec<(Process, u64)> {
        let with_memory = |entry: Arc<Entry>| Some((entry.process()?, entry.account.memory_bytes()));
        self.shared.table.live().into_iter().filter_map(with_memory).collect()
    }
}

async fn first_start(entry: &Entry) -> Result<Process, Error> {
    let mut phase = entry.phase();
    let known = phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await;
    match &*known.map_err(|error| Error::Internal(error.to_string()))? {
        Phase::Refused(error) => Err(error.clone()),
        Phase::Started(process) => Ok(Process { usage: entry.account.usage(), ..process.clone() }),
        Phase::Starting => Err(Error::Internal("the start was not waited for".to_owned())),
    }
}

impl Shared {
    /// The command that a program stands for, when it is allowed.
    pub(crate) fn resolve(&self, program: &Program) -> Result<Launch, Error> {
        let (program, first_args) = match program {
            Program::Runner => match self.config.runner_command.split_first() {
                Some((program, args)) => (PathBuf::from(program), args.to_vec()),
                None => return Err(Error::NoRunner),
            },
            Program::Path(path) if self.allows(path) => (path.clone(), Vec::new()),
            Program::Path(path) => return Err(Error::ProgramNotAllowed(path.display().to_string())),
        };
        Ok(Launch { program, first_args, inherited: self.environment.clone() })
    }

    fn allows(&self, path: &Path) -> bool {
        self.config.allowed_programs.iter().any(|allowed| Path::new(allowed).as_os_str() == path.as_os_str())
    }

    /// The line that a process is handed; none when it runs for no agent.
    pub(crate) async fn credentials(&self, agent: Option<&AgentId>) -> Result<Option<String>, Error> {
        let Some(agent) = agent else { return Ok(None) };
        let line = self.credentials.credentials(agent).await;
        line.map(Some).map_err(|cause| Error::Credentials { agent: agent.to_string(), cause })
    }
}

/// Reads a log on.
#[derive(Debug)]
pub struct Follower {
    entry: Arc<Entry>,
    next: u64,
    written: watch::Receiver<u64>,
    phase: watch::Receiver<Phase>,
}

impl Follower {
    /// At most `max` lines that are there already. A line of the source `nova` tells of those that were gone.
    pub fn read(&mut self, max: usize) -> Vec<Line> {
        let batch = self.entry.log.read(self.next, max);
        self.next = batch.next;
        let mut lines = batch.lines;
        if let (true, Some(first)) = (batch.missed > 0, lines.first()) {
            let text = format!("{} lines were written faster than they were read", batch.missed);
            lines.insert(0, Line { time: first.time, source: Source::Nova, text: text.into() });
        }
        lines
    }

    /// The same, but waits for lines; none when the process has ended for good and all was read.
    pub async fn next(&mut self, max: usize) -> Option<Vec<Line>> {
        loop {
            // Asked first: what ended has written all it wrote.
            let is_over = self.entry.process().is_some_and(|process| process.state.is_final());
            self.written.mark_unchanged();
            let lines = self.read(max);
            if !lines.is_empty() {
                return Some(lines);
            }
            if is_over {
                return None;
            }
            tokio::select! {
                written = self.written.changed() => written.ok()?,
                changed = self.phase.changed() => changed.ok()?,
            }
        }
    }
}
