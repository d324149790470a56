//! From `main` to the last flush.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join;
use nova_authz::PolicyPoint;
use nova_client::{Credentials, Mesh};
use nova_rpc::server::GuardLayer;
use nova_types::{Clock, SystemClock, Violations};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Layer as _;

use crate::authentication::MeshAuthenticator;
use crate::command::{Command, Parsed};
use crate::config::{Config, ConfigError, Join, RuntimeConfig, Settings};
use crate::connections::Connections;
use crate::credentials::{self, CredentialSource, IdentityDaemon};
use crate::handoff::Lifeline;
use crate::lease_proof::Verifier;
use crate::listeners::Listeners;
use crate::readiness::Needs;
use crate::running::RunningTasks;
use crate::runtime::{Shared, StoreUrl};
use crate::server::{self, Guarded, Security};
use crate::telemetry::Telemetry;
use crate::{Handoff, Runtime, disk, http, signals};

/// Exit code of a daemon that refuses its settings: starting it again would not help.
pub const MISCONFIGURED: u8 = 2;

/// A daemon: what differs from one to the other.
pub trait Daemon: 'static {
    /// Its name: of its table in the configuration, its certificate, its spans.
    const NAME: &'static str;

    /// Whether it publishes policy to its own decision point instead of watching the policy daemon.
    const OWNS_POLICY: bool = false;

    /// Its own settings.
    type Config: Config;

    /// Checks what types alone do not.
    fn validate(config: &Self::Config) -> Result<(), Violations>;

    /// Opens its store, starts its tasks, and gives its gRPC services. Must not wait for other daemons.
    fn start(
        config: Self::Config,
        runtime: Runtime,
    ) -> impl Future<Output = Result<Routes, StartError>> + Send;

    /// Where its certificate comes from, when that is not the identity daemon.
    fn credentials(
        config: &Self::Config,
        runtime: &RuntimeConfig,
    ) -> Result<Option<Arc<dyn CredentialSource>>, StartError> {
        let _unused = (config, runtime);
        Ok(None)
    }
}

/// Why a daemon does not start.
#[derive(Debug)]
pub struct StartError(Box<dyn std::error::Error + Send + Sync>);

impl StartError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain =
            std::iter::successors(Some(self.0.as_ref() as &dyn std::error::Error), |error| error.source());
        f.write_str(&chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StartError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// The `main` of a daemon's own binary.
pub fn main<D: Daemon>() -> ExitCode {
    main_with::<D>(std::env::args_os().collect())
}

/// The same with given arguments, the first of which is the program's name.
pub fn main_with<D: Daemon>(args: Vec<std::ffi::OsString>) -> ExitCode {
    let told = |error: StartError| eprintln!("{}: {error}", D::NAME);
    let settings = match settings::<D>(args) {
        Ok(Parsed::Run(settings)) => *settings,
        Ok(Parsed::Printed) => return ExitCode::SUCCESS,
        Err(error) => {
            told(error.into());
            return ExitCode::from(MISCONFIGURED);
        }
    };
    start::<D>(settings).unwrap_or_else(|error| {
        told(error);
        ExitCode::FAILURE
    })
}

fn settings<D: Daemon>(args: Vec<std::ffi::OsString>) -> Result<Parsed<D::Config>, ConfigError> {
    let parsed = Command::parse::<D::Config>(D::NAME, args)?;
    if let Parsed::Run(settings) = &parsed {
        D::validate(&settings.daemon)?;
        settings.runtime.policy.validate()?;
    }
    Ok(parsed)
}

fn start<D: Daemon>(settings: Settings<D::Config>) -> Result<ExitCode, StartError> {
    nova_client::install_crypto_provider();
    let listeners = Listeners::open(&settings.runtime)?;
    std::fs::create_dir_all(&settings.runtime.data_dir)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if settings.runtime.worker_threads > 0 {
        builder.worker_threads(settings.runtime.worker_threads);
    }
    let tokio = builder.enable_all().build()?;
    let code = tokio.block_on(run::<D>(settings, listeners));
    // The read of the lifeline never ends by itself.
    tokio.shutdown_background();
    code
}

async fn run<D: Daemon>(settings: Settings<D::Config>, listeners: Listeners) -> Result<ExitCode, StartError> {
    let (handoff, lifeline) = receive(&settings.runtime.join).await?;
    let mut telemetry_config = settings.runtime.telemetry.clone();
    if let Some(otlp) = &handoff.otlp {
        telemetry_config.send_to(otlp.clone());
    }
    let telemetry = Telemetry::start(D::NAME, &std::process::id().to_string(), &telemetry_config)?;
    let (listening, page) = (listeners.grpc.local_addr()?, telemetry.registry.clone());
    let runtime = runtime::<D>(&settings.runtime, &handoff, listening, page)?;
    let served = serve::<D>(settings, &runtime, listeners, &handoff, lifeline).await;
    let flushed = tokio::task::spawn_blocking(move || telemetry.shutdown());
    flushed.await?;
    served
}

async fn receive(join: &Join) -> Result<(Handoff, Option<Lifeline>), StartError> {
    Ok(match join {
        Join::Stdin => {
            let (handoff, lifeline) = Handoff::from_stdin().await?;
            (handoff, Some(lifeline))
        }
        Join::File(path) => (Handoff::from_file(path)?, None),
    })
}

fn runtime<D: Daemon>(
    config: &RuntimeConfig,
    handoff: &Handoff,
    listening: SocketAddr,
    metrics: prometheus::Registry,
) -> Result<Runtime, StartError> {
    let credentials = Credentials::joining(&handoff.bundle_pem, handoff.join_token.clone())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (data_dir, policy) = (Some(config.data_dir.as_path()), config.policy.clone());
    let policy = PolicyPoint::within_domain(D::NAME, &handoff.trust_domain, data_dir, clock.clone(), policy)?;
    Ok(Runtime(Arc::new(Shared {
        name: D::NAME,
        url: config.advertise.clone().unwrap_or_else(|| format!("https://{listening}")),
        clock,
        data_dir: config.data_dir.clone(),
        store: StoreUrl::parse(&config.store)?,
        trust_domain: handoff.trust_domain.clone(),
        mesh: Mesh::new(handoff.endpoints.clone(), credentials)?,
        policy,
        bundle_pem: handoff.bundle_pem.clone(),
        jwks: handoff.jwks.clone(),
        otlp: handoff.otlp.clone(),
        metrics,
        needs: Needs::new(),
        shutdown: CancellationToken::new(),
        failed: CancellationToken::new(),
        stopped: CancellationToken::new(),
        running: RunningTasks::new(),
        connections: Connections::at_most(config.max_connections),
    })))
}

async fn serve<D: Daemon>(
    settings: Settings<D::Config>,
    runtime: &Runtime,
    listeners: Listeners,
    handoff: &Handoff,
    lifeline: Option<Lifeline>,
) -> Result<ExitCode, StartError> {
    let page = TcpListener::from_std(listeners.http)?;
    let grpc = TcpListener::from_std(listeners.grpc)?;
    let plaintext = listeners.plaintext.map(TcpListener::from_std).transpose()?;
    tracing::info!(grpc = %grpc.local_addr()?, http = %page.local_addr()?, "listening");
    let drain_patience = Duration::from_secs(settings.runtime.drain_seconds);
    let gone = CancellationToken::new();
    if let Some(lifeline) = lifeline {
        runtime.spawn_background("lifeline", lifeline.watch(gone.clone()));
    }
    let services_start = runtime.readiness("services");
    let (folder, least) = (settings.runtime.data_dir.clone(), settings.runtime.min_free_disk_mib);
    runtime.spawn_background("disk-readiness", disk::follow(folder, least, runtime.readiness("disk")));
    runtime.spawn_background("http", http::serve(page, runtime.clone()));
    join_mesh::<D>(&settings, runtime)?;
    let routes = D::start(settings.daemon, runtime.clone()).await?;
    services_start.ready();
    let authenticator =
        MeshAuthenticator::new(D::NAME, &handoff.jwks, handoff.trust_domain.clone(), runtime.clock())?;
    let credentials = runtime.clients().credentials().clone();
    let leases = Verifier::new(credentials, handoff.trust_domain.clone(), runtime.clock());
    let guard = GuardLayer::new(D::NAME, Arc::new(authenticator), Arc::new(runtime.policy().clone()))
        .with_leases(Arc::new(leases));
    let services = guard.layer(standard_services(routes, runtime)?.prepare());
    let security = Security::Tls(runtime.clients().credentials().clone());
    let unencrypted = serve_plaintext(plaintext, services.clone(), runtime.clone());
    let server = server::serve(grpc, security, services, runtime.clone());
    until_told(runtime, gone, drain_patience, join(server, unencrypted).map(drop)).await
}

/// The same services on loopback without TLS, where the daemon is told to.
async fn serve_plaintext(listener: Option<TcpListener>, services: Guarded, runtime: Runtime) {
    let Some(listener) = listener else { return };
    let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::warn!(address, "listening without TLS, too: every process of this host can read what is said");
    server::serve(listener, Security::Plain, services, runtime).await;
}

/// Gets a certificate and a policy, in the background: the daemon starts without either.
fn join_mesh<D: Daemon>(settings: &Settings<D::Config>, runtime: &Runtime) -> Result<(), StartError> {
    let source = match D::credentials(&settings.daemon, &settings.runtime)? {
        Some(own) => own,
        None => Arc::new(IdentityDaemon::new(runtime.clients().clone())?),
    };
    let certificate = runtime.readiness("certificate");
    let credentials = runtime.clients().credentials().clone();
    runtime.spawn_background(
        "certificate",
        credentials::keep_fresh(source, credentials, certificate, runtime.clock()),
    );
    let policy = runtime.readiness("policy");
    let mut loaded = runtime.policy().loaded();
    runtime.spawn_background("policy-readiness", async move {
        policy.not_ready("no snapshot from the policy daemon yet");
        if loaded.wait_for(|loaded| *loaded).await.is_ok() {
            policy.ready();
        }
    });
    if !D::OWNS_POLICY {
        let (mesh, drain) = (runtime.clients().clone(), runtime.shutdown());
        runtime.spawn("policy-watch", runtime.policy().clone().run_watch(mesh.clone(), drain.clone()));
        runtime.spawn("policy-report", runtime.policy().clone().run_report(mesh, drain));
    }
    Ok(())
}

/// Health for everybody, reflection for whoever has an identity.
fn standard_services(routes: Routes, runtime: &Runtime) -> Result<Routes, StartError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let (needs, mut changes) = (runtime.needs().clone(), runtime.needs().changes());
    let drain = runtime.shutdown();
    runtime.spawn_background("health", async move {
        loop {
            let serving = needs.missing().is_empty() && !drain.is_cancelled();
            let status = if serving {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            reporter.set_service_status("", status).await;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = drain.cancelled(), if serving => {}
            }
        }
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(nova_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// Serves until a signal, the end of the parent, or a failed task; then drains.
async fn until_told(
    runtime: &Runtime,
    gone: CancellationToken,
    patience: Duration,
    server: impl Future<Output = ()>,
) -> Result<ExitCode, StartError> {
    tokio::pin!(server);
    let patience = tokio::select! {
        () = &mut server => patience,
        signal = signals::termination() => { tracing::info!(signal = signal?, "draining"); patience }
        () = gone.cancelled() => Duration::from_millis(500),
        () = runtime.0.failed.cancelled() => Duration::ZERO,
    };
    let until = Instant::now() + patience;
    runtime.0.shutdown.cancel();
    if timeout_at(until, &mut server).await.is_err() {
        tracing::warn!("calls were cut off at the end of the drain");
    }
    runtime.finish(until.saturating_duration_since(Instant::now())).await;
    let failed = runtime.0.failed.is_cancelled();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
