//! The mesh's own OTLP collector: it keeps the spans of this machine, so that `nova trace` can
//! show them with nothing else installed, and forwards them where `--otlp` says.
//!
//! It takes them from the mesh alone: its daemons, their agents and the commands of its home know a token, which every
//! start makes anew. Nobody else on the machine can put spans among these, or push them out.

mod forward;
mod guard;
mod receive;
mod spans;
mod store;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use nova_runtime::Otlp;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::MetricsServiceServer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tower::limit::GlobalConcurrencyLimitLayer;
use uuid::Uuid;

pub(crate) use spans::Span;
pub(crate) use store::{TraceSummary, Traces};

use forward::Forward;
use guard::Guard;
use receive::{Receiver, TraceService};

/// Where the collector listens when the port is free. OTLP's own, 4317, is left to Jaeger and its like.
const PORT: u16 = 7100;
/// Largest batch of spans, bytes.
const LARGEST_BATCH: usize = 16 << 20;
/// Batches that are taken at once; others wait: they are stored one after the other anyhow.
const AT_ONCE: usize = 8;

/// A collector that runs.
#[derive(Debug)]
pub(crate) struct Collector {
    address: Otlp,
    receiver: Receiver,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Collector {
    /// Opens the store and listens on loopback.
    #[expect(
        clippy::disallowed_methods,
        reason = "the supervisor is no daemon and has no runtime to spawn on"
    )]
    pub(crate) fn start(traces: &Path, otlp: Option<&str>) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", PORT)).or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
        listener.set_nonblocking(true)?;
        let (endpoint, token) = (format!("http://{}", listener.local_addr()?), Uuid::new_v4().to_string());
        let guard = InterceptorLayer::new(Guard::new(&token));
        let address = Otlp { endpoint, token: Some(token) };
        let traces = Arc::new(Traces::create(traces)?);
        let forward = otlp.map(|url| Forward::to(url, traces.clone())).transpose()?;
        let receiver = Receiver::new(traces, forward);
        let (stop, stopped) = oneshot::channel();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let metrics = MetricsServiceServer::new(receiver.clone()).max_decoding_message_size(LARGEST_BATCH);
        let mut server = Server::builder().layer(guard).layer(GlobalConcurrencyLimitLayer::new(AT_ONCE));
        let services = server.add_service(TraceService(receiver.clone())).add_service(metrics);
        let served = services.serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            stopped.await.unwrap_or_default();
        });
        let server = tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the collector ended");
            }
        });
        Ok(Self { address, receiver, stop, server })
    }

    /// Where it listens, and what it wants to be shown.
    pub(crate) fn address(&self) -> &Otlp {
        &self.address
    }

    /// Takes no more, and forwards what is left.
    pub(crate) async fn finish(self) {
        if self.stop.send(()).is_ok() && self.server.await.is_err() {
            tracing::debug!("the collector was cut off");
        }
        self.receiver.finish().await;
    }
}
