//! A daemon to test against, on both engines, and how its refusals are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nova_identity::{Config, IdentityDaemon};
use nova_proto::identity::v1::identity_service_client::IdentityServiceClient;
use nova_proto::memory::v1::memory_service_client::MemoryServiceClient;
use nova_runtime::testing::{AsCaller, TestServer};
use nova_testkit::redis::RedisServer;
use nova_testkit::soon;
use nova_types::{HeldClock, Timestamp};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(crate) type Calls = InterceptedService<Channel, AsCaller>;

/// A moment in 2027.
pub(crate) const START: i64 = 1_800_000_000_000_000;

/// State that outlives a daemon: its folder, its store, and the time.
pub(crate) struct Place {
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) clock: Arc<HeldClock>,
    redis: Option<RedisServer>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let clock = Arc::new(HeldClock::at(Timestamp::from_micros(START)));
        Self { dir: Arc::new(tempfile::tempdir().unwrap()), clock, redis: None }
    }

    pub(crate) fn redis() -> Self {
        Self { redis: Some(RedisServer::start()), ..Self::sqlite() }
    }

    /// One on each engine.
    pub(crate) fn both() -> [Self; 2] {
        [Self::sqlite(), Self::redis()]
    }

    /// Starts a daemon here.
    pub(crate) async fn start(&self) -> Daemon {
        self.start_in("data", &[]).await
    }

    /// Starts a daemon whose folder has another name, and which denies some methods.
    pub(crate) async fn start_in(&self, folder: &str, denied: &[&str]) -> Daemon {
        let mut builder = TestServer::builder(&self.dir.path().join(folder)).clock(self.clock.clone());
        if let Some(redis) = &self.redis {
            builder = builder.store(&redis.url());
        }
        builder = denied.iter().fold(builder, |builder, method| builder.deny(method));
        let config = Config { authority_dir: Some(self.dir.path().join("authority")), ..Config::default() };
        let data = self.dir.path().join(folder);
        let server = builder.start::<IdentityDaemon>(config).await.unwrap();
        Daemon { server, data, _dir: self.dir.clone() }
    }
}

pub(crate) struct Daemon {
    server: TestServer,
    data: PathBuf,
    _dir: Arc<tempfile::TempDir>,
}

impl Daemon {
    pub(crate) fn identity(&self, caller: &str, roles: &[&str]) -> IdentityServiceClient<Calls> {
        IdentityServiceClient::new(self.server.channel_as(caller, roles))
    }

    pub(crate) fn memory(&self, caller: &str) -> MemoryServiceClient<Calls> {
        MemoryServiceClient::new(self.server.channel_as(caller, &[]))
    }

    /// Stops the daemon and waits until its files are closed, as the end of a process does: SQLite removes a log by
    /// its name when it closes, which would be that of the next daemon.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
        let closed = || async { (!has_open_files(&self.data)).then_some(()) };
        soon("all files are closed", Duration::from_secs(60), closed).await;
    }
}

/// Whether this process has files below `folder` open.
fn has_open_files(folder: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|file| file.starts_with(folder))
}

/// The reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Asserts that a call was refused because of a field.
#[track_caller]
pub(crate) fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
    assert!(fields.contains(&field), "{fields:?} lacks {field}");
}

/// Asserts the code and the reason of a refusal.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, because: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (code, because), "{status:?}");
}
