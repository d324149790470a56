//! Lines to the daemons of a mesh, which a test can cut and heal: what is said meanwhile waits.

use nova_client::{Endpoint, Endpoints};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Most bytes that are under way on a line.
const CHUNK: usize = 16 << 10;

/// A line to each daemon.
#[derive(Debug)]
pub struct Lines {
    endpoints: Endpoints,
    cut: watch::Sender<bool>,
}

impl Lines {
    /// Lays lines to these endpoints; they end with the runtime.
    ///
    /// # Panics
    /// When a port cannot be had.
    pub async fn to(daemons: &Endpoints) -> Self {
        let cut = watch::Sender::new(false);
        let endpoints = Endpoints {
            queue: line(&daemons.queue, &cut).await,
            lifecycle: line(&daemons.lifecycle, &cut).await,
            policy: line(&daemons.policy, &cut).await,
            identity: line(&daemons.identity, &cut).await,
            node: line(&daemons.node, &cut).await,
        };
        Self { endpoints, cut }
    }

    /// Where the lines begin.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    /// Nothing passes from now on.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Everything passes, and what was held up first.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

#[expect(clippy::disallowed_methods, reason = "lines end with the test's runtime")]
async fn line(daemon: &Endpoint, cut: &watch::Sender<bool>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let begin = listener.local_addr().expect("it is bound");
    let end = daemon.0.trim_start_matches("https://").to_owned();
    let cut = cut.subscribe();
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            tokio::spawn(connect(caller, end.clone(), cut.clone()));
        }
    });
    Endpoint(format!("https://{begin}"))
}

async fn connect(caller: TcpStream, end: String, mut cut: watch::Receiver<bool>) {
    if cut.wait_for(|cut| !cut).await.is_err() {
        return;
    }
    let Ok(daemon) = TcpStream::connect(end).await else { return };
    let (from_caller, to_caller) = caller.into_split();
    let (from_daemon, to_daemon) = daemon.into_split();
    tokio::join!(pass(from_caller, to_daemon, cut.clone()), pass(from_daemon, to_caller, cut));
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<bool>,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let whole = cut.wait_for(|cut| !cut).await.is_ok();
        if !whole || to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
