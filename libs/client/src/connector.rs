//! How a connection is made: TCP without delay, then TLS with the present credential.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::Credentials;

/// Connects to one daemon, whose certificate must carry `<name>.nova.internal`.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    credentials: Credentials,
    server_name: ServerName<'static>,
}

impl Connector {
    pub(crate) fn new(daemon: &'static str, credentials: Credentials) -> Self {
        let server_name = ServerName::try_from(format!("{daemon}.nova.internal"));
        Self { credentials, server_name: server_name.expect("names of daemons are host names") }
    }
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect(&uri).await.map(TokioIo::new) })
    }
}

impl Connector {
    async fn connect(self, uri: &Uri) -> io::Result<Box<dyn Io>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        tcp.set_nodelay(true)?;
        if uri.scheme_str() == Some("http") {
            return Ok(Box::new(tcp));
        }
        let tls = TlsConnector::from(self.credentials.client_config());
        Ok(Box::new(tls.connect(self.server_name, tcp).await?))
    }
}
