//! The real queue daemon on SQLite, behind a wire that the test may cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nova_client::{Credential, Credentials, Endpoint, Endpoints, Mesh};
use nova_proto::queue::v1::{GetTaskRequest, ListTasksRequest, Task, TaskState};
use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::TestServer;
use nova_testkit::soon;
use nova_worker::{NewTask, Producer, Summary, Worker, WorkerBuilder, WorkerError};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Longest that a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon, and the wire that leads to it.
pub(crate) struct RealQueue {
    folder: TempDir,
    server: Option<TestServer>,
    pub(crate) wire: Wire,
}

impl RealQueue {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let server = serve(&folder).await;
        let wire = Wire::to(server.address).await;
        Self { folder, server: Some(server), wire }
    }

    /// Clients that reach the daemon without the wire.
    pub(crate) fn mesh(&self) -> Mesh {
        mesh(self.server.as_ref().expect("a daemon that serves").address)
    }

    /// A worker of the queue `q` at the other end of the wire, with leases as short as they may be.
    pub(crate) fn worker(&self) -> WorkerBuilder {
        worker(self.wire.address)
    }

    /// Clients at the other end of the wire.
    pub(crate) fn far_mesh(&self) -> Mesh {
        mesh(self.wire.address)
    }

    /// Whatever is stored.
    pub(crate) async fn all(&self) -> Vec<Task> {
        self.mesh().queue().list_tasks(ListTasksRequest::default()).await.unwrap().into_inner().tasks
    }

    /// Drains the daemon and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.server.take().expect("a daemon that serves").stop().await;
        let server = serve(&self.folder).await;
        self.wire.lead_to(server.address);
        self.server = Some(server);
    }

    /// Mends a wire that was cut.
    pub(crate) fn join_wire(&self) {
        self.wire.lead_to(self.server.as_ref().expect("a daemon that serves").address);
    }

    /// Stores a task whose attempts follow each other fast.
    pub(crate) async fn put(&self, kind: &str, payload: impl serde::Serialize) -> String {
        let (initial, longest) = (Duration::from_millis(5), Duration::from_millis(20));
        let task = NewTask::new("q", kind, &payload).unwrap().backoff(initial, longest);
        Producer::new(self.mesh()).enqueue(task).await.unwrap().id
    }

    pub(crate) async fn get(&self, id: &str) -> Task {
        let request = GetTaskRequest { task_id: id.to_owned(), ..GetTaskRequest::default() };
        self.mesh().queue().get_task(request).await.unwrap().into_inner().task.unwrap()
    }

    /// Waits until a task is in a state.
    pub(crate) async fn eventually(&self, id: &str, state: TaskState) -> Task {
        self.until(id, |task| task.state() == state).await
    }

    /// Waits until this holds of a task.
    pub(crate) async fn until(&self, id: &str, holds: impl Fn(&Task) -> bool) -> Task {
        soon("the task gets there", PATIENCE, || async { Some(self.get(id).await).filter(&holds) }).await
    }
}

async fn serve(folder: &TempDir) -> TestServer {
    TestServer::builder(folder.path()).start::<QueueDaemon>(Config::default()).await.unwrap()
}

/// A worker of the queue `q` of the daemon at `address`.
pub(crate) fn worker(address: SocketAddr) -> WorkerBuilder {
    Worker::builder(mesh(address)).queue("q").lease_duration(Duration::from_secs(1))
}

fn mesh(address: SocketAddr) -> Mesh {
    nova_client::install_crypto_provider();
    let endpoints = Endpoints { queue: Endpoint(format!("http://{address}")), ..Endpoints::default() };
    let credential = Credential::bearer(Vec::new(), Some("worker/w".to_owned()));
    Mesh::new(endpoints, Credentials::new(credential).unwrap()).unwrap()
}

/// A stable address that leads to a daemon, or nowhere.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<Connected>>,
}

struct Connected {
    target: Option<SocketAddr>,
    /// Whether nothing comes back.
    deaf: bool,
    cut: CancellationToken,
}

impl Wire {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connected = Connected { target: Some(target), deaf: false, cut: CancellationToken::new() };
        let state = Arc::new(Mutex::new(connected));
        let shared = state.clone();
        #[expect(clippy::disallowed_methods, reason = "the wire ends with the test")]
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, deaf, cut) = {
                    let state = shared.lock().unwrap();
                    (state.target, state.deaf, state.cut.clone())
                };
                tokio::spawn(cut.run_until_cancelled_owned(join(near, target, deaf)));
            }
        });
        Self { address, state }
    }

    /// Breaks every connection, and lets none through until the wire leads somewhere again.
    pub(crate) fn cut(&self) {
        self.set(None, false);
    }

    /// Breaks every connection; on new ones calls arrive, and no answer comes back.
    pub(crate) fn swallow_answers(&self) {
        let target = self.state.lock().unwrap().target;
        self.set(target, true);
    }

    /// Breaks every connection; new ones lead there.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.set(Some(target), false);
    }

    fn set(&self, target: Option<SocketAddr>, deaf: bool) {
        let mut state = self.state.lock().unwrap();
        state.cut.cancel();
        *state = Connected { target, deaf, cut: CancellationToken::new() };
    }
}

async fn join(mut near: TcpStream, target: Option<SocketAddr>, deaf: bool) {
    let Some(target) = target else { return };
    near.set_nodelay(true).unwrap();
    if let Ok(mut far) = TcpStream::connect(target).await {
        far.set_nodelay(true).unwrap();
        // How a connection ends is nothing that a wire would know.
        if deaf {
            let (mut from_near, _to_near) = near.split();
            drop(tokio::io::copy(&mut from_near, &mut far).await);
        } else {
            drop(copy_bidirectional(&mut near, &mut far).await);
        }
    }
}

/// A worker that runs beside the test.
pub(crate) struct Working {
    pub(crate) drain: CancellationToken,
    ended: tokio::task::JoinHandle<Result<Summary, WorkerError>>,
}

impl Working {
    pub(crate) fn start(builder: WorkerBuilder) -> Self {
        let (drain, worker) = (CancellationToken::new(), builder.build().unwrap());
        #[expect(clippy::disallowed_methods, reason = "the worker ends with the test")]
        let ended = tokio::spawn(worker.run(drain.clone()));
        Self { drain, ended }
    }

    /// Drains it and tells what it did.
    pub(crate) async fn finish(self) -> Summary {
        self.drain.cancel();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("an end in time").unwrap().unwrap()
    }
}
