//! A node that serves, and how a test speaks with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nova_node_agent::NodeAgentDaemon;
use nova_node_agent::config::{Config, RestartConfig};
use nova_proto::node::v1::node_service_client::NodeServiceClient;
use nova_proto::node::v1::{
    GetProcessRequest, Process, ProcessSpec, ProcessState, RestartPolicy, StartProcessRequest,
    StartProcessResponse, StopProcessRequest, StreamLogsRequest,
};
use nova_runtime::testing::{AsCaller, TestServer};
use tempfile::TempDir;
use tokio::time::{Instant, interval};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) type Client = NodeServiceClient<InterceptedService<Channel, AsCaller>>;

/// A node with a data folder of its own.
pub(crate) struct Node {
    pub(crate) server: TestServer,
    pub(crate) client: Client,
    pub(crate) data: TempDir,
}

/// A configuration in which shell scripts may run, and restart soon.
pub(crate) fn config() -> Config {
    Config {
        allowed_programs: vec!["/bin/sh".to_owned()],
        restart: RestartConfig { first_delay_ms: 10, longest_delay_ms: 20, limit: 3, window_seconds: 60 },
        ..Config::default()
    }
}

/// Runs a script, once.
pub(crate) fn script(id: &str, text: &str) -> ProcessSpec {
    ProcessSpec {
        process_id: id.to_owned(),
        program: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), text.to_owned()],
        ..ProcessSpec::default()
    }
}

/// Runs a script, again when it ends badly.
pub(crate) fn restarting(id: &str, text: &str) -> ProcessSpec {
    ProcessSpec { restart: RestartPolicy::OnFailure.into(), ..script(id, text) }
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let data = tempfile::tempdir().unwrap();
        let server = TestServer::builder(data.path()).start::<NodeAgentDaemon>(config).await.unwrap();
        Self::new(server, data)
    }

    pub(crate) fn new(server: TestServer, data: TempDir) -> Self {
        let client = NodeServiceClient::new(server.operator());
        Self { server, client, data }
    }

    /// A file in the data folder, for scripts.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    pub(crate) async fn run(&self, spec: ProcessSpec) -> Result<StartProcessResponse, Status> {
        let request = StartProcessRequest { spec: Some(spec) };
        Ok(self.client.clone().start_process(request).await?.into_inner())
    }

    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Result<Process, Status> {
        let grace = Some(prost_types::Duration::try_from(grace).unwrap());
        let request = StopProcessRequest { process_id: id.to_owned(), grace };
        Ok(self.client.clone().stop_process(request).await?.into_inner().process.unwrap())
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Process, Status> {
        let request = GetProcessRequest { process_id: id.to_owned() };
        Ok(self.client.clone().get_process(request).await?.into_inner().process.unwrap())
    }

    /// Waits until the process is in `state`.
    pub(crate) async fn until(&self, id: &str, state: ProcessState) -> Process {
        let (mut last, mut looks) = (None, interval(LOOK));
        let in_state = async {
            loop {
                let process = self.get(id).await.unwrap();
                if process.state() == state {
                    return process;
                }
                last = Some(process);
                looks.tick().await;
            }
        };
        match tokio::time::timeout(PATIENCE, in_state).await {
            Ok(process) => process,
            Err(_) => panic!("{id} does not become {state:?}: {last:?}"),
        }
    }

    /// The lines of a process, as `stream: line`.
    pub(crate) async fn lines(&self, id: &str, tail: u32, follow: bool) -> Vec<String> {
        let request = StreamLogsRequest { process_id: id.to_owned(), tail, follow };
        let mut stream = self.client.clone().stream_logs(request).await.unwrap().into_inner();
        let mut lines = Vec::new();
        while let Some(line) = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
            lines.push(format!("{}: {}", line.stream, line.line));
        }
        lines
    }
}

/// Waits until `holds`, and says `what` when it never does.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let (give_up, mut looks) = (Instant::now() + PATIENCE, interval(LOOK));
    while !holds() {
        assert!(Instant::now() < give_up, "{what}");
        looks.tick().await;
    }
}

/// Waits until a script has written a whole line into a file, and gives it.
pub(crate) async fn written(path: &Path) -> String {
    let text = || fs::read_to_string(path).unwrap_or_default();
    eventually(&format!("{} is written", path.display()), || text().ends_with('\n')).await;
    text().trim().to_owned()
}

/// Whether a process runs; what is dead but not reaped does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, tail)| !tail.trim_start().starts_with(['Z', 'X']))
}
