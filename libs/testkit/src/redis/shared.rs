//! Deployments that all tests of a binary share, since they take seconds to start.
//!
//! What is static is never dropped: a shell waits for the end of the tests' process, kills what was started, and
//! removes the folders. The tests keep apart by the names of their stores, their databases, or one after the other.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use super::{RedisCluster, RedisSentinel};

/// Nobody fails over because the machine is busy.
const LONG: Duration = Duration::from_secs(60);
const UNDERTAKER: &str = r#"read -r _; kill -9 $1; shift; rm -rf "$@""#;

/// A deployment, and who ends it.
struct Shared<T> {
    deployment: T,
    _undertaker: Child,
}

static CLUSTER: LazyLock<Shared<RedisCluster>> = LazyLock::new(|| {
    let deployment = RedisCluster::start(LONG);
    let processes = deployment.nodes().map(|node| (node.pid(), node.process.folder())).collect();
    Shared { _undertaker: undertaker(processes), deployment }
});

static SENTINEL: LazyLock<Shared<RedisSentinel>> = LazyLock::new(|| {
    let deployment = RedisSentinel::start(LONG);
    Shared { _undertaker: undertaker(deployment.processes()), deployment }
});

/// The cluster that the tests of this binary share.
///
/// # Panics
/// When it cannot be started.
pub fn shared_cluster() -> &'static RedisCluster {
    &CLUSTER.deployment
}

/// The servers and sentinels that the tests of this binary share.
///
/// # Panics
/// When they cannot be started.
pub fn shared_sentinel() -> &'static RedisSentinel {
    &SENTINEL.deployment
}

fn undertaker(processes: Vec<(u32, &Path)>) -> Child {
    let (pids, folders): (Vec<_>, Vec<_>) =
        processes.into_iter().map(|(pid, folder)| (pid.to_string(), folder)).unzip();
    let mut command = Command::new("sh");
    command.args(["-c", UNDERTAKER, "sh", &pids.join(" ")]).args(folders);
    command.stdin(Stdio::piped()).spawn().expect("there is a shell")
}
