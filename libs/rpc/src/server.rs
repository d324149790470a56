//! What is done around every call that comes in.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::authentication::Authenticator;
use crate::expiry::{Expiry, UntilExpiry};
use crate::lease::{self, LeaseVerifier, NoVerifier};
use crate::metrics::ServerMetrics;
use crate::trace::CallTrace;
use crate::unreadable::{is_of_the_decoder, unreadable};
use crate::{Authorizer, Caller, Error, Method, Question, authorization, deadline, trace};

/// Answered to anybody, and policy is not asked: who balances load has no identity.
const OPEN_TO_ALL: &str = "grpc.health.v1.Health/";

/// The layer that guards a daemon's services.
#[derive(Clone, Debug)]
pub struct GuardLayer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    service: &'static str,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Arc<dyn Authorizer>,
    metrics: ServerMetrics,
    leases: Arc<dyn LeaseVerifier>,
}

impl GuardLayer {
    /// Guards the services of the daemon `service`.
    pub fn new(
        service: &'static str,
        authenticator: Arc<dyn Authenticator>,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        let (metrics, leases) = (ServerMetrics::new(), Arc::new(NoVerifier));
        Self(Arc::new(Parts { service, authenticator, authorizer, metrics, leases }))
    }

    /// Takes calls that are made under a lease, too.
    ///
    /// # Panics
    /// When the layer is in use.
    #[must_use]
    pub fn with_leases(mut self, verifier: Arc<dyn LeaseVerifier>) -> Self {
        Arc::get_mut(&mut self.0).expect("a layer is completed before it is used").leases = verifier;
        self
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, parts: self.0.clone() }
    }
}

/// A guarded service: trace, deadline, identity, authorisation, lease, metrics; then the call.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    parts: Arc<Parts>,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let parts = self.parts.clone();
        let method = Method::of(request.uri().path());
        let trace = CallTrace::incoming(name_of(&request, method).as_ref(), request.headers());
        let call = async move {
            let started = Instant::now();
            let response = guarded(ready, request, &parts, method).await?;
            let code = status_of(&response);
            trace::record_status(&tracing::Span::current(), code);
            parts.metrics.record(method, code, started.elapsed());
            Ok(response)
        };
        Box::pin(trace.run(call))
    }
}

async fn guarded<S>(
    mut inner: S,
    request: Request<Body>,
    parts: &Parts,
    method: Option<&'static Method>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let deadline = deadline::of(request.headers());
    let (request, identity_ends) = match admit(request, parts, method) {
        Ok(admitted) => admitted,
        Err(error) => return Ok(refusal(error)),
    };
    let proof = request.headers().get(lease::HEADER).cloned();
    let answer = lease::under(proof, AssertUnwindSafe(inner.call(request)).catch_unwind());
    // Of other calls the answer is whole when it begins.
    let of_the_stream = deadline.filter(|_| method.is_none_or(Method::streams)).map(Expiry::of_deadline);
    let expiry = Expiry::first([identity_ends.map(Expiry::of_identity), of_the_stream]);
    match deadline::keep(deadline, answer).await {
        Ok(Ok(response)) => response.map(|response| until(readable(response), expiry)),
        Ok(Err(_)) => Ok(refusal(Error::internal(&Panicked))),
        Err(deadline::Elapsed) => Ok(refusal(Error::deadline_exceeded())),
    }
}

/// The service panicked; the panic's own message is in the log before. Without an answer the caller would take the
/// broken stream for a daemon that is away, and try again.
#[derive(Debug, thiserror::Error)]
#[error("the service panicked")]
struct Panicked;

/// Full name of the method without the leading slash; copied only where it is none of the contracts.
fn name_of(request: &Request<Body>, method: Option<&'static Method>) -> Cow<'static, str> {
    match method {
        Some(method) => Cow::Borrowed(method.name()),
        None => Cow::Owned(request.uri().path().trim_start_matches('/').to_owned()),
    }
}

/// Establishes the caller and decides on it. Tells when the caller's identity ends, if the call can last as long.
fn admit(
    request: Request<Body>,
    parts: &Parts,
    method: Option<&'static Method>,
) -> Result<(Request<Body>, Option<Instant>), Error> {
    let streams = method.is_none_or(Method::streams);
    let method = name_of(&request, method);
    if method.starts_with(OPEN_TO_ALL) {
        return Ok((request, None));
    }
    let (mut head, body) = request.into_parts();
    let caller = parts.authenticator.authenticate(&head)?;
    if caller.spiffe_id.is_none() {
        return Err(Error::unauthenticated("show a certificate of this mesh, or a bearer token"));
    }
    tracing::Span::current().record("enduser.id", caller.name());
    authorization::enforce(parts.authorizer.authorize(&question(parts, &caller, &method)))?;
    let rest = if streams { parts.authenticator.good_for(&caller) } else { None };
    let identity_ends = rest.map(|rest| Instant::now() + rest);
    if let Some(lease) = lease::shown(&head, &caller, parts.leases.as_ref())? {
        head.extensions.insert(lease);
    }
    head.extensions.insert(caller);
    Ok((Request::from_parts(head, body), identity_ends))
}

fn until(response: Response<Body>, expiry: Option<Expiry>) -> Response<Body> {
    match expiry {
        Some(expiry) => response.map(|body| UntilExpiry::wrap(body, expiry)),
        None => response,
    }
}

fn question<'a>(parts: &'a Parts, caller: &'a Caller, method: &'a str) -> Question<'a> {
    Question {
        subject: caller.spiffe_id.as_ref(),
        roles: &caller.roles,
        credential: caller.credential(),
        service: parts.service,
        method,
    }
}

/// An answer of the decoder as bad input, any other as it is.
fn readable(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if is_of_the_decoder(&status) => unreadable(status).into_http(),
        _ => response,
    }
}

fn refusal(error: Error) -> Response<Body> {
    Status::from(error).into_http()
}

/// The gRPC code of an answer that is an error; 0 for one that goes on.
fn status_of(response: &Response<Body>) -> i32 {
    let header = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
    header.and_then(|text| text.parse().ok()).unwrap_or(0)
}
