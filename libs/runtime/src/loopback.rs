//! An address that only this host can reach.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Address and port on loopback; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SocketAddr", into = "SocketAddr")]
pub struct LoopbackAddr(SocketAddr);

/// An address that others than this host can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not on loopback: what is said there is not encrypted, and bearer tokens are said there")]
pub struct NotLoopback(SocketAddr);

impl TryFrom<SocketAddr> for LoopbackAddr {
    type Error = NotLoopback;

    fn try_from(address: SocketAddr) -> Result<Self, NotLoopback> {
        if address.ip().is_loopback() { Ok(Self(address)) } else { Err(NotLoopback(address)) }
    }
}

impl From<LoopbackAddr> for SocketAddr {
    fn from(address: LoopbackAddr) -> Self {
        address.0
    }
}
