//! Queue daemons in processes of their own, to be killed and stopped.
//!
//! The child is this very test binary, told by its environment to serve.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::TestServer;
use nova_testkit::{eventually, pss_bytes};
use rustix::process::{Pid, Signal, kill_process};

const FOLDER: &str = "NOVA_CHAOS_FOLDER";
const STORE: &str = "NOVA_CHAOS_STORE";
const CONFIG: &str = "NOVA_CHAOS_CONFIG";

/// Longest that a daemon may take to serve.
const STARTUP: Duration = Duration::from_secs(30);

/// What the child runs; in any other process it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_serves_until_it_is_killed() {
    let told = [FOLDER, STORE, CONFIG].map(std::env::var);
    let [Ok(folder), Ok(store), Ok(config)] = told else { return };
    let (folder, config) = (Path::new(&folder), serde_json::from_str(&config).unwrap());
    let builder = TestServer::builder(folder).store(&store);
    let server = builder.start::<QueueDaemon>(config).await.unwrap();
    std::fs::write(folder.join("pid"), std::process::id().to_string()).unwrap();
    std::fs::write(folder.join("address.new"), server.address.to_string()).unwrap();
    std::fs::rename(folder.join("address.new"), folder.join("address")).unwrap();
    std::future::pending::<()>().await;
}

/// A daemon in another process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    folder: PathBuf,
    store: String,
    config: Config,
    child: Option<Child>,
    /// Of the daemon itself, not of what it runs under.
    pid: Pid,
}

impl Daemon {
    /// Starts a daemon whose own files are in `folder`.
    pub(crate) fn start(folder: &Path, store: &str) -> Self {
        Self::start_under(folder, store, &[])
    }

    /// Starts a daemon with these settings.
    pub(crate) fn start_with(folder: &Path, store: &str, config: Config) -> Self {
        let mut daemon = Self::in_folder(folder, store, config);
        daemon.restart();
        daemon
    }

    /// Starts a daemon under another command.
    pub(crate) fn start_under(folder: &Path, store: &str, wrapper: &[&str]) -> Self {
        let mut daemon = Self::in_folder(folder, store, Config::default());
        daemon.restart_under(wrapper);
        daemon
    }

    fn in_folder(folder: &Path, store: &str, config: Config) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { folder: folder.to_owned(), store: store.to_owned(), config, child: None, pid: Pid::INIT }
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.restart_under(&[]);
    }

    fn restart_under(&mut self, wrapper: &[&str]) {
        self.kill();
        drop(std::fs::remove_file(self.folder.join("address")));
        let binary = std::env::current_exe().unwrap();
        let mut words = wrapper.iter().map(Path::new).chain([binary.as_path()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["--exact", "daemon::a_child_serves_until_it_is_killed", "--nocapture"]);
        command.env(FOLDER, &self.folder).env(STORE, &self.store);
        command.env(CONFIG, serde_json::to_string(&self.config).unwrap());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        let address = self.folder.join("address");
        eventually("the daemon serves", STARTUP, || std::fs::read_to_string(&address).ok());
        let pid = std::fs::read_to_string(self.folder.join("pid")).unwrap();
        self.pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> String {
        std::fs::read_to_string(self.folder.join("address")).unwrap()
    }

    /// PSS, bytes.
    pub(crate) fn memory(&self) -> u64 {
        pss_bytes(self.pid.as_raw_nonzero().get().cast_unsigned()).expect("the daemon lives")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which the history shows.
            kill_process(self.pid, Signal::KILL).ok();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }
}

/// Sends a signal to any process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
