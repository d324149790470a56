//! The gRPC side of a daemon: accepts, proves, serves, drains.
//!
//! Connections are served with hyper rather than with tonic's server, which keeps one static
//! certificate and answers an expired deadline with CANCELLED: the certificate is looked up for
//! each handshake, so that it rotates without a connection being dropped.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use nova_client::Credentials;
use nova_rpc::server::Guard;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

use crate::Runtime;
use crate::authentication::Peer;

/// Longest that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 4_096;

/// A daemon's services behind their guard.
pub(crate) type Guarded = Guard<Routes>;

/// How connections prove themselves.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    /// TLS with this process's certificate.
    Tls(Credentials),
    /// None: on loopback, where it is asked for, and for tests inside one process.
    Plain,
}

/// Serves until the runtime drains, then lets the calls that run finish.
pub(crate) async fn serve(listener: TcpListener, security: Security, services: Guarded, runtime: Runtime) {
    let connections = Arc::new(GracefulShutdown::new());
    let drain = runtime.shutdown();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            () = drain.cancelled() => break,
        };
        // One without a place is closed, so that its caller tries again later, instead of waiting in silence.
        let Some(place) = runtime.0.connections.enter() else { continue };
        let served =
            connection(stream, security.clone(), services.clone(), runtime.clone(), connections.clone());
        runtime.spawn_background("connection", async move {
            served.await;
            drop(place);
        });
    }
    drop(listener);
    if let Some(connections) = Arc::into_inner(connections) {
        connections.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    security: Security,
    services: Guarded,
    runtime: Runtime,
    connections: Arc<GracefulShutdown>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no TCP_NODELAY");
    }
    let watcher = connections.watcher();
    drop(connections);
    match security {
        Security::Plain => speak(stream, Peer::default(), services, watcher).await,
        Security::Tls(credentials) => {
            if let Some((stream, peer)) = handshake(stream, &credentials, &runtime).await {
                speak(stream, peer, services, watcher).await;
            }
        }
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

async fn handshake(
    stream: TcpStream,
    credentials: &Credentials,
    runtime: &Runtime,
) -> Option<(TlsStream, Peer)> {
    let acceptor = match server_config(credentials) {
        Ok(config) => TlsAcceptor::from(config),
        Err(error) => {
            tracing::error!(%error, "no TLS");
            return None;
        }
    };
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = Peer::of(leaf, runtime.trust_domain());
            Some((stream, peer))
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn speak<S>(stream: S, peer: Peer, services: Guarded, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        services.clone().call(request.map(Body::new))
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection broke");
    }
}

fn server_config(
    credentials: &Credentials,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let credential = credentials.current();
    let roots = Arc::new(credential.root_store()?);
    let verifier = WebPkiClientVerifier::builder(roots).allow_unauthenticated().build()?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Present(credentials.clone())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Shows the certificate that is present at the moment of the handshake.
#[derive(Debug)]
struct Present(Credentials);

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let credential = self.0.current();
        let provider = rustls::crypto::CryptoProvider::get_default()?;
        let key = credential.key.as_ref()?.clone_key();
        CertifiedKey::from_der(credential.chain.clone(), key, provider).ok().map(Arc::new)
    }
}
