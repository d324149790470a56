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

/// The two sockets of one daemon.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) grpc: TcpListener,
    pub(crate) http: TcpListener,
}

/// The sockets of all.
#[derive(Debug)]
pub(crate) struct AllSockets(BTreeMap<&'static str, Sockets>);

impl AllSockets {
    /// Opens them on loopback.
    pub(crate) fn open() -> io::Result<Self> {
        let open =
            |(place, daemon)| Ok((daemon, Sockets { grpc: bind(GRPC + place)?, http: bind(HTTP + place)? }));
        (0..).zip(PLACES).map(open).collect::<io::Result<_>>().map(Self)
    }

    /// Those of one daemon.
    pub(crate) fn of(&self, daemon: &str) -> &Sockets {
        &self.0[daemon]
    }

    /// Where each daemon serves gRPC.
    pub(crate) fn endpoints(&self) -> io::Result<Endpoints> {
        let at = |daemon: &str| {
            Ok::<_, io::Error>(Endpoint(format!("https://{}", self.of(daemon).grpc.local_addr()?)))
        };
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
