//! The mesh while it runs: start, announce, start again what dies, stop in order.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use futures::future::join_all;
use nova_identity::authority::Authority;
use nova_runtime::Otlp;
use nova_types::{Clock as _, SystemClock, TrustDomain};
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::child::{Spec, Started};
use super::ends::{End, Ends};
use super::orders::Orders;
use super::sockets::AllSockets;
use super::{DAEMONS, Told, logs, operator, ready, tell};
use crate::collector::Collector;
use crate::home::{Home, MeshFile, MeshState};
use crate::signals;

/// Longest that a mesh may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Longest that a mesh which goes down waits for those who read from it.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Longest that a daemon may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Waits between the starts of a daemon that keeps dying.
const RESTART: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_secs(5);
/// A daemon that ran for so long is started again at once.
const HEALTHY: Duration = Duration::from_secs(10);
/// The daemons stop in these groups: work first, then what it depends on.
const STOP_ORDER: [&[&str]; 3] = [&["lifecycle", "node"], &["queue", "identity"], &["policy"]];

/// What the mesh is made of.
#[derive(Debug)]
struct Mesh {
    home: Home,
    authority: Authority,
    sockets: AllSockets,
    file: Mutex<MeshFile>,
    reading: bool,
    ends: Ends,
    /// Names of the daemons that must not run any more.
    stopped: watch::Sender<Vec<&'static str>>,
}

/// Runs a mesh until it is told to stop.
pub(crate) async fn run(home: Home, orders: Orders) -> anyhow::Result<()> {
    let lifeline = orders.lifeline;
    home.withdraw().context("cannot remove mesh.json")?;
    let collector = Collector::start(&home.traces(), orders.otlp.as_deref())?;
    let mesh = Mesh::new(home, orders, collector.address().clone())?;
    let operator = operator::issue(&mesh.home, &mesh.authority)?;
    let daemons = join_all(DAEMONS.map(|name| mesh.keep_running(name)));
    let outcome = tokio::select! {
        _ = daemons => Ok(()),
        () = operator::keep_fresh(&mesh.home, &mesh.authority, &operator) => Ok(()),
        () = logs::keep_small(&mesh.home) => Ok(()),
        outcome = mesh.serve(lifeline) => outcome,
    };
    collector.finish().await;
    outcome
}

impl Mesh {
    fn new(home: Home, orders: Orders, collector: Otlp) -> anyhow::Result<Self> {
        let now = SystemClock.now();
        let authority = Authority::open_or_create(&home.authority(), &TrustDomain::default(), now)?;
        let sockets = AllSockets::open(orders.plaintext).context("cannot open sockets on loopback")?;
        let file = MeshFile {
            pid: std::process::id(),
            state: MeshState::Starting,
            started: now.to_string(),
            store: orders.store,
            endpoints: sockets.endpoints()?,
            plaintext: orders.plaintext.then(|| sockets.plaintext()).transpose()?,
            http: sockets.http()?,
            collector: collector.endpoint,
            collector_token: collector.token,
            otlp: orders.otlp,
            for_one_run: orders.lifeline,
            pids: BTreeMap::new(),
        };
        let stopped = watch::Sender::new(Vec::new());
        let (file, reading, ends) = (Mutex::new(file), orders.reading, Ends::default());
        Ok(Self { home, authority, sockets, file, reading, ends, stopped })
    }

    /// Announces the mesh when it is ready, and stops it when it is told to. The daemons run beside this.
    ///
    /// Until it is ready, it ends with the command that wants it, also one that is to be kept; with a lifeline, later, too.
    async fn serve(&self, lifeline: bool) -> anyhow::Result<()> {
        let (mut told, mut left) = (pin!(signals::termination()), pin!(end_of_input()));
        let outcome = tokio::select! {
            ready = self.ready() => ready,
            _ = &mut told => Err(anyhow!("it was told to stop while it came up")),
            () = &mut left => Err(anyhow!("whoever wanted it is gone")),
        };
        if outcome.is_ok() {
            self.enter(MeshState::Ready);
            tell(&Told::Ready(Box::new(self.file())));
            tokio::select! {
                _ = told => {}
                () = left, if lifeline => {}
            }
        }
        self.enter(MeshState::Stopping);
        self.until_unread().await;
        self.stop().await;
        self.home.withdraw().context("cannot remove mesh.json")?;
        outcome
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let pages = self.file().http;
        let all = join_all(DAEMONS.map(|name| ready::wait(&pages[name])));
        tokio::select! {
            _ = all => return Ok(()),
            given_up = self.ends.hopeless(&self.home) => return Err(given_up.into()),
            () = tokio::time::sleep(READY_WITHIN) => {}
        }
        for name in DAEMONS {
            let silent = |error| self.ends.last_words(name).unwrap_or(error);
            let missing = ready::missing(&pages[name]).await.unwrap_or_else(silent);
            if !missing.is_empty() {
                bail!("{name} is not ready: {missing}; its log is {}", self.home.log(name).display());
            }
        }
        bail!("the mesh was not ready within {READY_WITHIN:?}")
    }

    /// Starts a daemon, and again whenever it dies or cannot be started, until it is stopped; then waits for ever.
    async fn keep_running(&self, name: &'static str) {
        let mut wait = RESTART.start;
        loop {
            let began = Instant::now();
            match self.run_once(name).await {
                Ok(Some(end)) => {
                    tracing::warn!(daemon = name, status = %end.status, "died; it is started again");
                    self.ends.note(name, &end);
                }
                Ok(None) => std::future::pending().await,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(daemon = name, error, "cannot be run; it is tried again");
                    self.ends.note_unstartable(name, error);
                }
            }
            self.record(name, None);
            wait = if began.elapsed() > HEALTHY { RESTART.start } else { (wait * 2).min(RESTART.end) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Starts a daemon and waits for its end: how it died, or none when it was stopped on purpose.
    async fn run_once(&self, name: &'static str) -> anyhow::Result<Option<End>> {
        let mut daemon = self.start(name).await?;
        self.until_end(name, &mut daemon).await
    }

    async fn start(&self, name: &'static str) -> anyhow::Result<Started> {
        let file = self.file();
        let spec = Spec {
            name,
            home: &self.home,
            authority: &self.authority,
            sockets: self.sockets.of(name),
            endpoints: &file.endpoints,
            collector: &file.own_collector(),
            store: &file.store,
            pushes_metrics: file.otlp.is_some(),
            reading: self.reading,
        };
        let daemon = spec.start().await?;
        self.record(name, daemon.process.id());
        Ok(daemon)
    }

    /// How it died; none when it was stopped on purpose.
    async fn until_end(&self, name: &'static str, daemon: &mut Started) -> anyhow::Result<Option<End>> {
        let mut stopped = self.stopped.subscribe();
        let told = stopped.wait_for(|names| names.contains(&name));
        tokio::select! {
            status = daemon.process.wait() => {
                return Ok(Some(End { status: status?, said: daemon.last_words() }));
            }
            told = told => { told?; }
        }
        if let Some(pid) = daemon.process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        if tokio::time::timeout(STOP_WITHIN, daemon.process.wait()).await.is_err() {
            daemon.process.kill().await?;
        }
        self.record(name, None);
        Ok(None)
    }

    /// Waits for those who read: they came before it was said that the mesh goes down.
    async fn until_unread(&self) {
        let began = Instant::now();
        while self.home.is_read().unwrap_or(false) && began.elapsed() < READ_WITHIN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(&self) {
        for group in STOP_ORDER {
            self.stopped.send_modify(|names| names.extend(group.iter().copied()));
            let began = Instant::now();
            while self.file().pids.keys().any(|name| group.contains(&name.as_str()))
                && began.elapsed() < STOP_WITHIN * 2
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Notes in mesh.json which process a daemon is.
    fn record(&self, name: &str, pid: Option<u32>) {
        self.note(|file| {
            match pid {
                Some(pid) => file.pids.insert(name.to_owned(), pid),
                None => file.pids.remove(name),
            };
        });
    }

    /// Notes in mesh.json how far the mesh is.
    fn enter(&self, state: MeshState) {
        self.note(|file| file.state = state);
    }

    /// Changes mesh.json. The mesh goes on when the file cannot be written.
    fn note(&self, change: impl FnOnce(&mut MeshFile)) {
        let mut file = self.file.lock().expect("nobody panics while holding it");
        change(&mut file);
        if let Err(error) = self.home.announce(&file) {
            tracing::error!(%error, "mesh.json cannot be written");
        }
    }

    fn file(&self) -> MeshFile {
        self.file.lock().expect("nobody panics while holding it").clone()
    }
}

/// Waits for the end of the command that holds the other side of standard input, or for it to let go.
async fn end_of_input() {
    let mut stdin = tokio::io::stdin();
    let mut rest = [0; 64];
    while matches!(stdin.read(&mut rest).await, Ok(count) if count > 0) {}
}
