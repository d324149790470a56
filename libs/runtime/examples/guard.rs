//! What a daemon does around every call, over and over and nothing else: for a profiler.
//!
//! `guard CALLS [TRACE_RATIO]` makes so many calls through the guard, with the policy point and the routing of
//! a daemon, but without a connection. The instructions of one call are the difference between two runs:
//!
//!     cargo build --release -p nova-runtime --example guard
//!     valgrind --tool=callgrind target/release/examples/guard 21000

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use nova_authz::{Config, Module, PolicyPoint, Snapshot};
use nova_rpc::authentication::Authenticator;
use nova_rpc::server::GuardLayer;
use nova_rpc::{Caller, Error as CallError};
use nova_runtime::Routes;
use nova_runtime::config::TelemetryConfig;
use nova_runtime::telemetry::Telemetry;
use nova_types::{SpiffeId, SystemClock};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer as _, Service};

const METHOD: &str = "http://localhost/nova.policy.v1.PolicyService/ExplainDecision";
const ALLOW: &str = "package nova.authz\n\ndecision := {\"allow\": true, \"why\": \"everybody may\"}\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let calls: u32 = arguments.next().as_deref().unwrap_or("1000").parse()?;
    let trace_ratio: f64 = arguments.next().as_deref().unwrap_or("0").parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(make(calls, TelemetryConfig { trace_ratio, ..TelemetryConfig::default() }))
}

async fn make(calls: u32, telemetry: TelemetryConfig) -> Result<(), Box<dyn Error>> {
    let _telemetry = Telemetry::start("policy", "1", &telemetry)?;
    let guard = GuardLayer::new("policy", Arc::new(Known::operator()?), Arc::new(allowing()?));
    let services = guard.layer(Routes::new(Answers).prepare());
    let started = Instant::now();
    for _ in 0..calls {
        services.clone().call(request()?).await?;
    }
    eprintln!("{:?} a call", started.elapsed() / calls.max(1));
    Ok(())
}

fn request() -> Result<Request<Body>, http::Error> {
    let mut request = Request::post(METHOD).body(Body::empty())?;
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("grpc-timeout", HeaderValue::from_static("9999m"));
    Ok(request)
}

fn allowing() -> Result<PolicyPoint, Box<dyn Error>> {
    // As under load: the rate of records is used up.
    let config = Config { record_allowed_per_second: 1, waiting_decisions: 1, ..Config::default() };
    let point = PolicyPoint::with_config("policy", None, Arc::new(SystemClock), config)?;
    point.publish(Snapshot::new(
        vec![Module { id: "authz.rego".to_owned(), rego: ALLOW.to_owned() }],
        "{}",
    )?)?;
    Ok(point)
}

/// Everybody is the operator, with a certificate that ends.
#[derive(Debug)]
struct Known(Arc<Caller>);

impl Known {
    fn operator() -> Result<Self, Box<dyn Error>> {
        let id = SpiffeId::parse("caller", "spiffe://nova.local/user/operator").map_err(|v| v.rule)?;
        let roles = vec!["operator".to_owned()];
        Ok(Self(Arc::new(Caller { spiffe_id: Some(id), roles, token_id: None, expires: Some(u64::MAX) })))
    }
}

impl Authenticator for Known {
    fn authenticate(&self, _: &Parts) -> Result<Arc<Caller>, CallError> {
        Ok(self.0.clone())
    }

    fn good_for(&self, _: &Caller) -> Option<Duration> {
        Some(Duration::from_secs(3_600))
    }
}

/// A service that answers everything with nothing.
#[derive(Clone, Debug)]
struct Answers;

impl NamedService for Answers {
    const NAME: &'static str = "nova.policy.v1.PolicyService";
}

impl Service<Request<Body>> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}
