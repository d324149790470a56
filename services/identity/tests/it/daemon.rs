//! A daemon to test against, on both engines, and how its refusals are read.

use std::sync::Arc;

use nova_identity::{Config, IdentityDaemon};
use nova_proto::identity::v1::identity_service_client::IdentityServiceClient;
use nova_proto::memory::v1::memory_service_client::MemoryServiceClient;
use nova_runtime::testing::{AsCaller, TestServer};
use nova_testkit::redis::RedisServer;
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
        Daemon { server: builder.start::<IdentityDaemon>(config).await.unwrap(), _dir: self.dir.clone() }
    }
}

pub(crate) struct Daemon {
    server: TestServer,
    _dir: Arc<tempfile::TempDir>,
}

impl Daemon {
    pub(crate) fn identity(&self, caller: &str, roles: &[&str]) -> IdentityServiceClient<Calls> {
        IdentityServiceClient::new(self.server.channel_as(caller, roles))
    }

    pub(crate) fn memory(&self, caller: &str) -> MemoryServiceClient<Calls> {
        MemoryServiceClient::new(self.server.channel_as(caller, &[]))
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
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
