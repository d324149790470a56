//! A deadline that passes is answered by the daemon itself, with the right code; also in the midst of a stream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nova_runtime::testing::TestServer;
use nova_runtime::{Daemon, Routes, Runtime, StartError};
use nova_types::Violations;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

const LONG: Duration = Duration::from_secs(30);

pub(crate) struct SlowDaemon;

impl Daemon for SlowDaemon {
    const NAME: &'static str = "slow";
    type Config = ();

    fn validate(_: &()) -> Result<(), Violations> {
        Ok(())
    }

    async fn start(_: (), _: Runtime) -> Result<Routes, StartError> {
        Ok(Routes::new(Never))
    }
}

/// A service that never answers, or begins a stream in which nothing comes.
#[derive(Clone)]
struct Never;

impl NamedService for Never {
    const NAME: &'static str = "test.Never";
}

impl tower::Service<Request<Body>> for Never {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !request.uri().path().ends_with("/Stream") {
            return Box::pin(std::future::pending());
        }
        let silence = futures::stream::pending::<Result<Frame<Bytes>, Status>>();
        Box::pin(std::future::ready(Ok(Response::new(Body::new(StreamBody::new(silence))))))
    }
}

#[tokio::test]
async fn a_deadline_that_passes_is_deadline_exceeded_and_not_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::builder(folder.path()).start::<SlowDaemon>(()).await.unwrap();
    let response = send(&server, brief(&server, "Call")).await;
    assert_eq!(response.headers()["grpc-status"], "4", "{:?}", response.headers());
}

#[tokio::test]
async fn a_stream_that_goes_on_ends_at_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::builder(folder.path()).start::<SlowDaemon>(()).await.unwrap();
    let (head, body) = send(&server, brief(&server, "Stream")).await.into_parts();
    let ended = tokio::time::timeout(LONG, body.collect()).await.expect("it ends").unwrap();
    // On a busy machine the deadline can pass before the stream begins.
    let trailers = ended.trailers().unwrap_or(&head.headers);
    assert_eq!(trailers["grpc-status"], "4", "{trailers:?}");
}

/// A call that may take no longer than a moment.
fn brief(server: &TestServer, method: &str) -> Request<Empty<Bytes>> {
    Request::post(format!("http://{}/test.Never/{method}", server.address))
        .header("content-type", "application/grpc")
        .header("x-test-caller", "spiffe://nova.local/user/ada")
        .header("grpc-timeout", "500m")
        .body(Empty::new())
        .expect("it is a request")
}

/// Sends a request with no client's own timer in between.
#[expect(clippy::disallowed_methods, reason = "a test has no runtime of a daemon to spawn on")]
async fn send(server: &TestServer, request: Request<Empty<Bytes>>) -> Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(server.address).await.expect("the daemon listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("it answers")
}
