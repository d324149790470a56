//! A daemon in a process of its own that is killed while it works.
//!
//! The child is this very test binary, told by its environment to serve: a daemon outside of a mesh has no
//! certificate, so the one that a test can reach is the test server.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nova_proto::queue::v1 as pb;
use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::TestServer;
use nova_testkit::soon;
use pb::TaskState;

use crate::harness::{FarClient, Home, PATIENCE, ask, complete, enqueue, far_client, task};

const FOLDER: &str = "NOVA_QUEUE_TEST_FOLDER";
const STORE: &str = "NOVA_QUEUE_TEST_STORE";

/// What the child runs; in any other process it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_serves_until_it_is_killed() {
    let (Ok(folder), Ok(store)) = (std::env::var(FOLDER), std::env::var(STORE)) else { return };
    let folder = Path::new(&folder);
    let builder = TestServer::builder(folder).store(&store);
    let server = builder.start::<QueueDaemon>(Config::default()).await.unwrap();
    std::fs::write(folder.join("address.new"), server.address.to_string()).unwrap();
    std::fs::rename(folder.join("address.new"), folder.join("address")).unwrap();
    std::future::pending::<()>().await;
}

/// A daemon in another process; killed when dropped.
struct Daemon {
    child: Child,
    client: FarClient,
}

impl Daemon {
    async fn start(home: &Home) -> Self {
        let address = home.folder().join("address");
        drop(std::fs::remove_file(&address));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::a_child_serves_until_it_is_killed", "--nocapture"])
            .env(FOLDER, home.folder())
            .env(STORE, home.store())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let read = || async { std::fs::read_to_string(&address).ok() };
        let address = soon("the child serves", PATIENCE, read).await;
        Self { child, client: far_client(&address) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().expect("the child was alive");
        self.child.wait().expect("the child ends");
    }
}

/// What callers were told.
#[derive(Default)]
struct Told {
    stored: BTreeSet<String>,
    completed: BTreeSet<String>,
    tokens: BTreeMap<u64, String>,
}

impl Told {
    fn add(&mut self, other: Told) {
        self.stored.extend(other.stored);
        self.completed.extend(other.completed);
        for (token, id) in other.tokens {
            assert_eq!(self.tokens.insert(token, id), None, "token {token} was given twice");
        }
    }

    /// Produces and works until the daemon is gone or `rounds` are done.
    async fn work(&mut self, client: &mut FarClient, rounds: usize) {
        for _ in 0..rounds {
            let Ok(answer) = client.enqueue(enqueue(vec![task("t"), task("t")])).await else { return };
            self.stored.extend(answer.into_inner().tasks.into_iter().map(|task| task.id));
            let Ok(answer) = client.lease(ask()).await else { return };
            for lease in answer.into_inner().leases {
                let id = lease.task.as_ref().unwrap().id.clone();
                let before = self.tokens.insert(lease.token, id.clone());
                assert_eq!(before, None, "token {} was given twice", lease.token);
                if client.complete(complete(&lease, "r")).await.is_err() {
                    return;
                }
                self.completed.insert(id);
            }
        }
    }
}

pub(crate) async fn a_killed_daemon_loses_nothing_and_gives_no_token_twice(home: &Home) {
    let mut told = Told::default();
    for rounds in [3, 40, 1, 15] {
        let daemon = Daemon::start(home).await;
        let mut client = daemon.client.clone();
        let newest = told.tokens.keys().next_back().copied().unwrap_or(0);
        told.work(&mut client, rounds).await;
        assert!(told.tokens.keys().next_back().copied().unwrap_or(0) > newest, "tokens grow");
        // Killed in the middle of more work, whose answers may never come.
        let mut last = Told::default();
        let working = last.work(&mut client, usize::MAX);
        drop(tokio::time::timeout(Duration::from_millis(60), working).await);
        drop(daemon);
        told.add(last);
    }
    let daemon = Daemon::start(home).await;
    let mut client = daemon.client.clone();
    for id in &told.stored {
        let request = pb::GetTaskRequest { task_id: id.clone(), ..Default::default() };
        let kept = client.get_task(request).await.expect("an acknowledged task is there").into_inner();
        let state = kept.task.unwrap().state();
        assert!(state == TaskState::Completed || !told.completed.contains(id), "{id} is {state:?}");
    }
    assert!(told.completed.len() > 50);
}
