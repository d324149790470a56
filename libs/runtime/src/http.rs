//! The plain HTTP side of a daemon: `/metrics`, `/ready`, `/live`.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};

use crate::Runtime;
use crate::readiness::Needs;

/// Longest that a request may take to say what it wants, idle time on a kept connection included.
const HEADERS: Duration = Duration::from_secs(60);

/// Answers until the daemon ends.
pub(crate) async fn serve(listener: TcpListener, runtime: Runtime) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an http connection was not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (needs, registry) = (runtime.needs().clone(), runtime.0.metrics.clone());
        runtime.spawn_background("http-connection", connection(stream, needs, registry));
    }
}

async fn connection(stream: TcpStream, needs: Needs, registry: Registry) {
    let service = service_fn(|request| {
        let response = answer(&request, &needs, &registry);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let served = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "an http connection broke");
    }
}

fn answer(request: &Request<Incoming>, needs: &Needs, registry: &Registry) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, metrics(registry)),
        "/live" => text(StatusCode::OK, "live\n".into()),
        "/ready" => ready(needs),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /ready and /live\n".into()),
    }
}

fn ready(needs: &Needs) -> Response<Full<Bytes>> {
    let missing = needs.missing();
    if missing.is_empty() {
        return text(StatusCode::OK, "ready\n".into());
    }
    let lines = missing.iter().map(|(what, why)| format!("{what}: {why}\n")).collect::<String>();
    text(StatusCode::SERVICE_UNAVAILABLE, lines.into_bytes())
}

fn metrics(registry: &Registry) -> Vec<u8> {
    let mut page = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut page) {
        tracing::error!(%error, "the metrics page is incomplete");
    }
    page
}

fn text(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}
