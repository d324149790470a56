//! A daemon inside a test's own process: the real services, store and guard, over loopback
//! without TLS. Who calls is what the test says: see [`TestServer::channel_as`]; a [`Mesh`] says it with
//! a bearer token that is the caller's path, such as `worker/w`.

mod authority;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use nova_authz::PolicyPoint;
use nova_client::{Endpoints, Mesh};
use nova_rpc::authentication::{Authenticator, roles_of};
use nova_rpc::server::GuardLayer;
use nova_rpc::{Authorizer, Caller, Decision, Error, Question};
use nova_types::{Clock, DecisionId, SpiffeId, SystemClock, TrustDomain};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tower::Layer as _;

pub use self::authority::TestAuthority;
use crate::connections::Connections;
use crate::lease_proof::Verifier;
use crate::readiness::Needs;
use crate::running::RunningTasks;
use crate::runtime::{Shared, StoreUrl};
use crate::server::{self, Security};
use crate::{Daemon, Runtime, RuntimeConfig, StartError};

/// Header that names the caller.
const CALLER: &str = "x-test-caller";
/// Header that names its roles, with commas.
const ROLES: &str = "x-test-roles";

/// What a test may choose.
#[derive(Clone, Debug)]
pub struct TestServerBuilder {
    data_dir: PathBuf,
    store: String,
    endpoints: Endpoints,
    clock: Arc<dyn Clock>,
    denied: Vec<String>,
    max_connections: usize,
}

/// A daemon that serves until it is stopped or dropped.
#[derive(Debug)]
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its runtime.
    pub runtime: Runtime,
}

impl TestServer {
    /// A daemon whose state is in `data_dir`.
    pub fn builder(data_dir: &Path) -> TestServerBuilder {
        TestServerBuilder {
            data_dir: data_dir.to_owned(),
            store: "sqlite".to_owned(),
            endpoints: Endpoints::default(),
            clock: Arc::new(SystemClock),
            denied: Vec::new(),
            max_connections: RuntimeConfig::default().max_connections,
        }
    }

    /// A connection on which every call is made by `caller` (`user/ada`) with `roles`; those that follow
    /// from the id when none are given.
    pub fn channel_as(&self, caller: &str, roles: &[&str]) -> InterceptedService<Channel, AsCaller> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        let id = SpiffeId::of(&TrustDomain::default(), "caller", caller).expect("a test names a good caller");
        let roles = if roles.is_empty() { roles_of(&id).join(",") } else { roles.join(",") };
        InterceptedService::new(endpoint.connect_lazy(), AsCaller { caller: id.to_string(), roles })
    }

    /// A connection of an operator.
    pub fn operator(&self) -> InterceptedService<Channel, AsCaller> {
        self.channel_as("user/operator", &["operator"])
    }

    /// Drains it, as SIGTERM would.
    pub async fn stop(self) {
        self.runtime.0.shutdown.cancel();
        self.runtime.finish(Duration::from_secs(5)).await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.runtime.0.shutdown.cancel();
        self.runtime.0.stopped.cancel();
    }
}

impl TestServerBuilder {
    /// Another store than SQLite.
    #[must_use]
    pub fn store(mut self, url: &str) -> Self {
        url.clone_into(&mut self.store);
        self
    }

    /// Where the other daemons are.
    #[must_use]
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// A clock that the test holds.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// So many connections at once.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// Denies a method; all others are allowed.
    #[must_use]
    pub fn deny(mut self, method: &str) -> Self {
        self.denied.push(method.to_owned());
        self
    }

    /// Starts the daemon on a free port.
    pub async fn start<D: Daemon>(self, config: D::Config) -> Result<TestServer, StartError> {
        D::validate(&config)?;
        nova_client::install_crypto_provider();
        std::fs::create_dir_all(&self.data_dir)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let runtime = self.runtime::<D>(address)?;
        let routes = D::start(config, runtime.clone()).await?;
        let authorizer = Arc::new(AllBut(self.denied));
        let credentials = runtime.clients().credentials().clone();
        let leases = Verifier::new(credentials, runtime.trust_domain().clone(), runtime.clock());
        let guard = GuardLayer::new(D::NAME, Arc::new(ByHeader), authorizer).with_leases(Arc::new(leases));
        let services = guard.layer(routes.prepare());
        runtime.spawn("server", server::serve(listener, Security::Plain, services, runtime.clone()));
        Ok(TestServer { address, runtime })
    }

    fn runtime<D: Daemon>(&self, address: SocketAddr) -> Result<Runtime, StartError> {
        let credentials = TestAuthority::shared().credentials(&format!("svc/{}", D::NAME));
        Ok(Runtime(Arc::new(Shared {
            name: D::NAME,
            url: format!("http://{address}"),
            clock: self.clock.clone(),
            data_dir: self.data_dir.clone(),
            store: StoreUrl::parse(&self.store)?,
            trust_domain: TrustDomain::default(),
            mesh: Mesh::new(self.endpoints.clone(), credentials)?,
            policy: PolicyPoint::with_config(
                D::NAME,
                None,
                self.clock.clone(),
                nova_authz::Config::default(),
            )?,
            bundle_pem: String::new(),
            jwks: r#"{"keys":[]}"#.to_owned(),
            otlp: None,
            metrics: prometheus::Registry::new(),
            needs: Needs::new(),
            shutdown: CancellationToken::new(),
            failed: CancellationToken::new(),
            stopped: CancellationToken::new(),
            running: RunningTasks::new(),
            connections: Connections::at_most(self.max_connections),
        })))
    }
}

/// Says who calls.
#[derive(Clone, Debug)]
pub struct AsCaller {
    caller: String,
    roles: String,
}

impl Interceptor for AsCaller {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let value = |text: &str| MetadataValue::try_from(text).expect("ids and roles are ASCII");
        request.metadata_mut().insert(CALLER, value(&self.caller));
        request.metadata_mut().insert(ROLES, value(&self.roles));
        Ok(request)
    }
}

#[derive(Debug)]
struct ByHeader;

impl Authenticator for ByHeader {
    fn authenticate(&self, request: &Parts) -> Result<Arc<Caller>, Error> {
        let text = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let id = text(CALLER).map(|caller| SpiffeId::parse(CALLER, caller)).transpose()?;
        if let (None, Some(path)) = (&id, text("authorization").and_then(|text| text.strip_prefix("Bearer ")))
        {
            let id = SpiffeId::of(&TrustDomain::default(), "authorization", path)?;
            let roles = roles_of(&id);
            return Ok(Arc::new(Caller { spiffe_id: Some(id), roles, token_id: None, expires: None }));
        }
        let roles = text(ROLES).unwrap_or_default().split(',').map(str::to_owned).collect();
        let token_id = text("x-test-token-id").map(str::to_owned);
        let expires = text("x-test-expires").and_then(|seconds| seconds.parse().ok());
        Ok(Arc::new(Caller { spiffe_id: id, roles, token_id, expires }))
    }
}

#[derive(Debug)]
struct AllBut(Vec<String>);

impl Authorizer for AllBut {
    fn authorize(&self, question: &Question<'_>) -> Decision {
        if self.0.iter().any(|denied| denied == question.method) {
            return Decision::Deny(DecisionId::new(SystemClock.now()));
        }
        Decision::Allow
    }
}
