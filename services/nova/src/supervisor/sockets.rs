//! The sockets of the daemons: opened here, once, and kept for as long as the mesh runs.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use nova_client::{Endpoint, Endpoints};

use super::DAEMONS;

/// First gRPC port; each daemon has the one of its place. Free ports are taken when they are not.
const GRPC: u16 = 7101;
/// First HTTP port.
const HTTP: u16 = 7111;
/// Places of the ports.
const PLACES: [&str; 5] = ["queue", "lifecycle", "policy", "identity", "node"];

/// The sockets of one daemon.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) grpc: TcpListener,
    pub(crate) http: TcpListener,
    /// gRPC without TLS.
    pub(crate) plaintext: Option<TcpListener>,
}

impl Sockets {
    fn open(place: u16, plaintext: bool) -> io::Result<Self> {
        let plaintext = plaintext.then(|| TcpListener::bind("127.0.0.1:0")).transpose()?;
        Ok(Self { grpc: bind(GRPC + place)?, http: bind(HTTP + place)?, plaintext })
    }

    /// All of them, in the order in which a daemon takes them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &TcpListener> {
        [&self.grpc, &self.http].into_iter().chain(&self.plaintext)
    }
}

/// The sockets of all.
#[derive(Debug)]
pub(crate) struct AllSockets(BTreeMap<&'static str, Sockets>);

impl AllSockets {
    /// Opens them on loopback.
    pub(crate) fn open(plaintext: bool) -> io::Result<Self> {
        let open = |(place, daemon)| Ok((daemon, Sockets::open(place, plaintext)?));
        (0..).zip(PLACES).map(open).collect::<io::Result<_>>().map(Self)
    }

    /// Those of one daemon.
    pub(crate) fn of(&self, daemon: &str) -> &Sockets {
        &self.0[daemon]
    }

    /// Where each daemon serves gRPC.
    pub(crate) fn endpoints(&self) -> io::Result<Endpoints> {
        self.each(|sockets| Ok(Endpoint(format!("https://{}", sockets.grpc.local_addr()?))))
    }

    /// Where each daemon serves gRPC without TLS.
    pub(crate) fn plaintext(&self) -> io::Result<Endpoints> {
        self.each(|sockets| {
            let listener = sockets.plaintext.as_ref().ok_or(io::ErrorKind::NotFound)?;
            Ok(Endpoint(format!("http://{}", listener.local_addr()?)))
        })
    }

    fn each(&self, at: impl Fn(&Sockets) -> io::Result<Endpoint>) -> io::Result<Endpoints> {
        let at = |daemon: &str| at(self.of(daemon));
        Ok(Endpoints {
            queue: at("queue")?,
            lifecycle: at("lifecycle")?,
            policy: at("policy")?,
            identity: at("identity")?,
            node: at("node")?,
        })
    }

    /// Where each daemon serves HTTP.
    pub(crate) fn http(&self) -> io::Result<BTreeMap<String, String>> {
        let address = |daemon: &str| Ok((daemon.to_owned(), self.of(daemon).http.local_addr()?.to_string()));
        DAEMONS.into_iter().map(address).collect()
    }
}

/// The port on loopback, or a free one when somebody has it.
pub(crate) fn bind(port: u16) -> io::Result<TcpListener> {
    let wanted = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
    wanted.or_else(|_| TcpListener::bind("127.0.0.1:0"))
}
