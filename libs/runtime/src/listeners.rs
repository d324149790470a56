//! The sockets of a daemon: gRPC and HTTP, and gRPC without TLS where that is wanted.
//!
//! A supervisor (ours, or systemd) may open them and hand them down as `LISTEN_FDS`: then a
//! daemon that starts again keeps its port, and callers see a pause instead of a refusal.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::config::RuntimeConfig;
use crate::loopback::LoopbackAddr;

/// Sockets that listen already.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: TcpListener,
    pub(crate) http: TcpListener,
    pub(crate) plaintext: Option<TcpListener>,
}

impl Listeners {
    /// Takes the handed sockets, and opens those that were not handed. Call it before any thread starts.
    pub(crate) fn open(config: &RuntimeConfig) -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        let grpc = take_or_bind(&mut handed, 0, config.listen)?;
        let http = take_or_bind(&mut handed, 1, config.http_listen)?;
        let plaintext = config.listen_plaintext.map(|address| take_or_bind(&mut handed, 2, address.into()));
        Ok(Self { grpc, http, plaintext: plaintext.transpose()?.map(on_loopback).transpose()? })
    }
}

/// Also one that was handed down.
fn on_loopback(listener: TcpListener) -> io::Result<TcpListener> {
    LoopbackAddr::try_from(listener.local_addr()?).map_err(io::Error::other)?;
    Ok(listener)
}

fn take_or_bind(handed: &mut ListenFd, index: usize, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match handed.take_tcp_listener(index)? {
        Some(listener) => listener,
        None => TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?,
    };
    // Children of this process must not hold our ports.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
