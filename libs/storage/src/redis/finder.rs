//! Where the primary is that holds a store's keys, asked anew whenever it was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, Value};

use super::RedisUrl;
use super::server::{self, Server};
use super::url::Deployment;
use crate::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a primary that was found fit.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    pub(super) address: Arc<str>,
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Server,
}

/// Finds the primary of the keys that share a hash tag.
#[derive(Debug)]
pub(super) struct Finder {
    url: RedisUrl,
    tag: Arc<str>,
    response_timeout: Duration,
    /// Whom to ask first: one that fails is not asked again before the others were.
    first: AtomicUsize,
}

impl Finder {
    pub(super) fn new(url: RedisUrl, tag: &str, response_timeout: Duration) -> Self {
        Self { url, tag: tag.into(), response_timeout, first: AtomicUsize::new(0) }
    }

    /// The same with another patience.
    pub(super) fn patient(&self, response_timeout: Duration) -> Self {
        Self::new(self.url.clone(), &self.tag, response_timeout)
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// Asks one host after the other.
    pub(super) async fn find(&self) -> Result<Primary, Error> {
        let hosts = self.url.hosts();
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = Error::Closed;
        for at in first..first + hosts.len() {
            match self.find_at(&hosts[at % hosts.len()]).await {
                Ok(primary) => return Ok(primary),
                Err(error) => failure = error,
            }
            self.first.store((at + 1) % hosts.len(), Ordering::Relaxed);
        }
        Err(failure)
    }

    async fn find_at(&self, host: &str) -> Result<Primary, Error> {
        match self.url.deployment {
            Deployment::Server => self.open(host).await,
            Deployment::Sentinel => {
                let asked = self.ask_sentinel(host).await;
                self.open(&asked.map_err(|error| unreachable(host, error))?).await
            }
            Deployment::Cluster => {
                let asked = self.ask_node(host).await;
                self.open(&asked.map_err(|error| unreachable(host, error))?).await
            }
        }
    }

    /// Connects to a server, and judges it.
    pub(super) async fn open(&self, address: &str) -> Result<Primary, Error> {
        let opened = async {
            let mut connection = self.connect(&self.url.server(address)?).await?;
            let info: String = ::redis::cmd("INFO").query_async(&mut connection).await?;
            Ok((connection, info))
        };
        let (connection, info) = opened.await.map_err(|error| unreachable(address, error))?;
        let server = server::judge(address, &info)?;
        Ok(Primary { address: address.into(), connection, server })
    }

    /// A connection to any server of the deployment, whatever it is.
    pub(super) async fn visit(&self, address: &str) -> Result<MultiplexedConnection, RedisError> {
        self.connect(&self.url.server(address)?).await
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn ask_sentinel(&self, host: &str) -> Result<String, RedisError> {
        let mut sentinel = self.connect(&self.url.sentinel(host)?).await?;
        let mut ask = ::redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.url.service);
        let known: Option<(String, u16)> = ask.query_async(&mut sentinel).await?;
        let (name, port) = known.ok_or_else(|| self.unknown_service())?;
        Ok(join(&name, port))
    }

    fn unknown_service(&self) -> RedisError {
        let name = self.url.service.clone();
        (ErrorKind::MasterNameNotFoundBySentinel, "the sentinel does not know the service", name).into()
    }

    /// Who owns the slot of the tag, as a node of the cluster sees it.
    async fn ask_node(&self, host: &str) -> Result<String, RedisError> {
        let mut node = self.visit(host).await?;
        let mut ask = ::redis::cmd("CLUSTER");
        let slot: u16 = ask.arg("KEYSLOT").arg(&*self.tag).query_async(&mut node).await?;
        let mut ask = ::redis::cmd("CLUSTER");
        let ranges: Vec<Vec<Value>> = ask.arg("SLOTS").query_async(&mut node).await?;
        for range in ranges {
            let owner = owner(range, slot)?;
            if let Some((name, port)) = owner {
                // A node that does not know its own name means the one that was used to reach it.
                let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| name_of(host).to_owned());
                return Ok(join(&name, port));
            }
        }
        Err((ErrorKind::ClusterConnectionNotFound, "no node of the cluster owns the slot").into())
    }
}

/// Name and port of the owner of a range of slots: first, last, owner, replicas.
fn owner(range: Vec<Value>, slot: u16) -> Result<Option<(Option<String>, u16)>, RedisError> {
    let mut parts = range.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let (first, last) = (u16::from_redis_value(next())?, u16::from_redis_value(next())?);
    let node = Vec::<Value>::from_redis_value(next())?;
    let mut parts = node.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let (name, port) = (Option::from_redis_value(next())?, u16::from_redis_value(next())?);
    Ok((first..=last).contains(&slot).then_some((name, port)))
}

/// The part of `host:port` before its port.
pub(super) fn name_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(name, _)| name)
}

/// `host:port`; the colons of an IPv6 address need brackets.
fn join(name: &str, port: u16) -> String {
    if name.contains(':') && !name.starts_with('[') {
        return format!("[{name}]:{port}");
    }
    format!("{name}:{port}")
}

fn unreachable(address: &str, source: RedisError) -> Error {
    Error::RedisUnreachable { address: address.to_owned(), source: Arc::new(source) }
}
