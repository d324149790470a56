//! What every call out of this process passes through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use nova_rpc::trace::{self, CallTrace};
use nova_rpc::{Method, Reason, deadline, lease, repeatable};
use nova_types::SpiffeId;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{Channel as Transport, Endpoint as TransportEndpoint};
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tower::Service;

use crate::connector::Connector;
use crate::lease::HeldLease;
use crate::retry::Backoff;
use crate::{Credential, Credentials, Endpoint};

/// The call with which a process joins; all others wait for its answer.
const ATTEST: &str = "/nova.identity.v1.IdentityService/AttestWorkload";
/// Deadline of a unary call that has none of its own and serves none: longer than a daemon waits for its store.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(15);

/// A connection to one daemon, made when it is needed, and made again when it breaks or when the
/// credential is replaced: a daemon knows a caller by what the connection showed when it was made.
/// Calls that run on the connection before are not disturbed.
///
/// A unary call carries a deadline, and is repeated with backoff until it passes while the
/// daemon cannot be reached or answers UNAVAILABLE. One that makes something new and has no `request_id` is repeated only
/// while it has surely not reached the daemon: made twice, it would count twice. A stream is opened once.
#[derive(Clone, Debug)]
pub struct Channel {
    shared: Arc<Shared>,
    lease: Option<HeldLease>,
}

#[derive(Debug)]
struct Shared {
    daemon: &'static str,
    endpoint: TransportEndpoint,
    credentials: Credentials,
    connection: ArcSwap<Connection>,
}

#[derive(Debug)]
struct Connection {
    transport: Transport,
    /// What is shown on it.
    shown: Arc<Credential>,
}

impl Connection {
    fn new(daemon: &'static str, endpoint: &TransportEndpoint, credentials: &Credentials) -> Self {
        let shown = credentials.current();
        let connector = Connector::new(daemon, credentials.clone());
        Self { transport: endpoint.connect_with_connector_lazy(connector), shown }
    }
}

impl Shared {
    /// The transport that shows the present credential.
    fn transport(&self) -> Transport {
        let connection = self.connection.load();
        if Arc::ptr_eq(&connection.shown, &self.credentials.current()) {
            return connection.transport.clone();
        }
        let connection = Arc::new(Connection::new(self.daemon, &self.endpoint, &self.credentials));
        self.connection.store(connection.clone());
        connection.transport.clone()
    }
}

/// Header of a call that one daemon forwards to another of the same name: the SPIFFE id of who made it with a certificate.
pub const ON_BEHALF_OF: &str = "nova-on-behalf-of";

type Answer = Result<Response<Body>, Status>;

/// A call that got no answer.
struct Unanswered {
    status: Status,
    /// Whether the daemon may have got it.
    sent: bool,
}

impl From<Unanswered> for Status {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.status
    }
}

impl Channel {
    /// A channel to `daemon` at `endpoint`; connects at the first call.
    ///
    /// Fails when the endpoint is no URL.
    pub fn new(
        daemon: &'static str,
        endpoint: &Endpoint,
        credentials: Credentials,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = TransportEndpoint::from_shared(endpoint.0.clone())?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20);
        let connection = ArcSwap::from_pointee(Connection::new(daemon, &endpoint, &credentials));
        Ok(Self { shared: Arc::new(Shared { daemon, endpoint, credentials, connection }), lease: None })
    }

    /// The same connection, whose calls are made under a lease, or under none.
    pub(crate) fn under(&self, lease: Option<HeldLease>) -> Self {
        Self { shared: self.shared.clone(), lease }
    }

    /// Passes on a call that this daemon was made, once, with its own metadata. `caller` made it with a certificate; a
    /// bearer token speaks for itself.
    ///
    /// # Errors
    /// UNAVAILABLE when the other daemon cannot be reached.
    pub async fn forward(self, mut request: Request<Body>, caller: Option<&SpiffeId>) -> Answer {
        let trace = CallTrace::outgoing(request.uri().path().trim_start_matches('/'));
        trace.inject(request.headers_mut());
        let caller = caller.and_then(|caller| HeaderValue::from_str(caller.as_ref()).ok());
        // Nobody is somebody too: without the header the call would be this daemon's own.
        request.headers_mut().insert(ON_BEHALF_OF, caller.unwrap_or(HeaderValue::from_static("anonymous")));
        Ok(trace.run(self.send(request)).await?)
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        if request.uri().path() != ATTEST {
            self.shared.credentials.joined().await;
        }
        self.authorize(&mut request);
        if let Some(lease) = &self.lease {
            // For each attempt anew: a daemon may be away for longer than a proof lasts.
            let proof = lease.header().await.map_err(|status| Unanswered { status, sent: false })?;
            request.headers_mut().insert(lease::HEADER, proof);
        }
        let mut transport = self.shared.transport();
        let ready = std::future::poll_fn(|cx| transport.poll_ready(cx)).await;
        ready.map_err(|error| Unanswered { status: self.unanswered(&error), sent: false })?;
        let answer = transport.call(request).await;
        answer
            .map_err(|error| Unanswered { status: self.unanswered(&error), sent: !is_of_connecting(&error) })
    }

    /// Sends the call again and again until it is answered by other than UNAVAILABLE. At the deadline that answer, which
    /// tells what is away, is worth more than that the time is over.
    async fn send_until_answered(self, request: Request<Body>, timeout: Duration) -> Answer {
        let give_up = Instant::now() + timeout;
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut backoff = Backoff::default();
        let mut refused = None;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let attempt = self.clone().send(attempt(&head, &body, left));
            let (answer, reached) = match tokio::time::timeout_at(give_up, attempt).await {
                Ok(answer) => told(answer),
                Err(_) => (Err(Status::from(nova_rpc::Error::deadline_exceeded())), true),
            };
            if is(&answer, Code::DeadlineExceeded) {
                return refused.unwrap_or(answer);
            }
            let wait = backoff.next_wait();
            let again = is(&answer, Code::Unavailable) && (!reached || repeatable(head.uri.path(), &body));
            if !again || Instant::now() + wait >= give_up {
                return answer;
            }
            refused = Some(answer);
            tokio::time::sleep(wait).await;
        }
    }

    /// Why a call got no answer. The transport keeps its deadline, too: one that has passed says nothing of the daemon.
    fn unanswered(&self, error: &tonic::transport::Error) -> Status {
        let Some(cause) = chain(error).last().filter(|cause| !cause.is::<TimeoutExpired>()) else {
            return nova_rpc::Error::deadline_exceeded().into();
        };
        nova_rpc::Error::unavailable(self.shared.daemon, cause.to_string()).into()
    }

    fn authorize(&self, request: &mut Request<Body>) {
        if let Some(shown) = self.shared.credentials.authorization() {
            request.headers_mut().insert(header::AUTHORIZATION, shown);
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let this = self.clone();
        let path = request.uri().path();
        let trace = CallTrace::outgoing(path.trim_start_matches('/'));
        let streams = Method::of(path).is_none_or(Method::streams);
        trace.inject(request.headers_mut());
        if let Some(proof) = lease::passed_on() {
            request.headers_mut().entry(lease::HEADER).or_insert(proof);
        }
        let timeout = timeout_of(&request);
        let call = async move {
            let answer = if streams {
                this.send(request).await.map_err(Status::from)
            } else {
                this.send_until_answered(request, timeout.unwrap_or(DEFAULT_DEADLINE)).await
            };
            trace::record_status(&tracing::Span::current(), code_of(&answer));
            answer
        };
        Box::pin(trace.run(call))
    }
}

/// The call's own deadline, cut to what is left of the call that is being served.
fn timeout_of(request: &Request<Body>) -> Option<Duration> {
    let own = deadline::requested(request.headers());
    own.into_iter().chain(deadline::remaining()).min()
}

fn attempt(head: &http::request::Parts, body: &Bytes, left: Duration) -> Request<Body> {
    let mut request = Request::from_parts(head.clone(), Body::new(Full::new(body.clone())));
    request.headers_mut().insert(deadline::HEADER, deadline::header(left));
    request
}

fn chain(error: &tonic::transport::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// True when there was no connection to send the call on.
fn is_of_connecting(error: &tonic::transport::Error) -> bool {
    chain(error).any(|cause| cause.is::<ConnectError>())
}

/// The answer, and whether what it answers may have been done. A daemon that has not decided does nothing.
fn told(answer: Result<Response<Body>, Unanswered>) -> (Answer, bool) {
    match answer {
        Ok(response) => {
            let refused = Status::from_header_map(response.headers());
            let reached = !refused.is_some_and(|status| Reason::PolicyUnavailable.is_of(&status));
            (Ok(response), reached)
        }
        Err(Unanswered { status, sent }) => (Err(status), sent),
    }
}

fn is(answer: &Answer, code: Code) -> bool {
    code_of(answer) == code as i32
}

fn code_of(answer: &Answer) -> i32 {
    match answer {
        Ok(response) => Status::from_header_map(response.headers()).map_or(0, |status| status.code() as i32),
        Err(status) => status.code() as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel_to(address: std::net::SocketAddr) -> Channel {
        crate::install_crypto_provider();
        let credentials = Credentials::new(Credential::bearer(Vec::new(), None)).unwrap();
        Channel::new("queue", &Endpoint(format!("http://{address}")), credentials).unwrap()
    }

    fn call(method: &str) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("/nova.queue.v1.QueueService/{method}").parse().unwrap();
        request
    }

    #[tokio::test]
    async fn a_daemon_that_is_silent_until_the_deadline_is_not_called_unavailable() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut channel = channel_to(silent.local_addr().unwrap());
        let mut request = call("Lease");
        request.headers_mut().insert(deadline::HEADER, HeaderValue::from_static("20m"));
        let status = channel.call(request).await.expect_err("nobody answers");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    }

    #[tokio::test]
    async fn a_call_was_sent_once_there_was_a_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel = channel_to(listener.local_addr().unwrap());
        let hang_up = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // All of the client's preface, and then no more.
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 24]).await.unwrap();
        };
        let (answer, ()) = tokio::join!(channel.clone().send(call("Enqueue")), hang_up);
        assert!(answer.expect_err("no answer came").sent);
        drop(listener);
        let unanswered = channel.send(call("Enqueue")).await.expect_err("nobody listens");
        assert_eq!((unanswered.sent, unanswered.status.code()), (false, Code::Unavailable));
    }
}
