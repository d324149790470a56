//! Where the primary is that holds a store's keys, asked anew whenever it was lost.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Nodes of the cluster that the URL need not name.
    learnt: Arc<Mutex<Vec<String>>>,
}

impl Finder {
    pub(super) fn new(url: RedisUrl, tag: &str, response_timeout: Duration) -> Self {
        let (first, learnt) = (AtomicUsize::new(0), Arc::default());
        Self { url, tag: tag.into(), response_timeout, first, learnt }
    }

    /// The same with another patience; what one learns the other knows.
    pub(super) fn patient(&self, response_timeout: Duration) -> Self {
        let learnt = Arc::clone(&self.learnt);
        Self { learnt, ..Self::new(self.url.clone(), &self.tag, response_timeout) }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// Asks one host after the other.
    pub(super) async fn find(&self) -> Result<Primary, Error> {
        let hosts = self.hosts();
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

    /// Who owns the slot of the tag, as a node of the cluster sees it. All nodes are remembered.
    async fn ask_node(&self, host: &str) -> Result<String, RedisError> {
        let mut node = self.visit(host).await?;
        let mut ask = ::redis::cmd("CLUSTER");
        let slot: u16 = ask.arg("KEYSLOT").arg(&*self.tag).query_async(&mut node).await?;
        let mut ask = ::redis::cmd("CLUSTER");
        let ranges: Vec<Vec<Value>> = ask.arg("SLOTS").query_async(&mut node).await?;
        let shards: Vec<_> = ranges.into_iter().map(|range| shard(range, host)).collect::<Result<_, _>>()?;
        self.learn(&shards);
        let mine = shards.into_iter().find(|shard| shard.slots.contains(&slot));
        let owner = mine.and_then(|shard| shard.nodes.into_iter().next());
        owner.ok_or_else(|| {
            (ErrorKind::ClusterConnectionNotFound, "no node of the cluster owns the slot").into()
        })
    }

    fn learn(&self, shards: &[Shard]) {
        let nodes = shards.iter().flat_map(|shard| &shard.nodes).cloned();
        *self.learnt.lock().unwrap_or_else(PoisonError::into_inner) = nodes.collect();
    }

    /// Whom to ask: those that the URL names, and those that were learnt of them.
    fn hosts(&self) -> Vec<String> {
        let mut hosts = self.url.hosts().to_vec();
        for learnt in &*self.learnt.lock().unwrap_or_else(PoisonError::into_inner) {
            if !hosts.contains(learnt) {
                hosts.push(learnt.clone());
            }
        }
        hosts
    }
}

/// Slots, and the nodes that hold them: their owner, then its replicas.
struct Shard {
    slots: RangeInclusive<u16>,
    nodes: Vec<String>,
}

/// Reads a range of `CLUSTER SLOTS`: first and last slot, then nodes.
fn shard(range: Vec<Value>, asked: &str) -> Result<Shard, RedisError> {
    let mut parts = range.into_iter();
    let mut slot = || u16::from_redis_value(parts.next().unwrap_or(Value::Nil));
    let slots = slot()?..=slot()?;
    let nodes = parts.map(|node| node_address(node, asked)).collect::<Result<_, _>>()?;
    Ok(Shard { slots, nodes })
}

/// A node begins with its name and port. One that does not know its name means the one that was used to reach it.
fn node_address(node: Value, asked: &str) -> Result<String, RedisError> {
    let mut parts = Vec::<Value>::from_redis_value(node)?.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let (name, port) = (Option::<String>::from_redis_value(next())?, u16::from_redis_value(next())?);
    Ok(join(name.as_deref().filter(|name| !name.is_empty()).unwrap_or_else(|| name_of(asked)), port))
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
    Error::RedisUnreachable { address: address.to_owned(), cause: Arc::new(source) }
}
