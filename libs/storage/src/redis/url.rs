//! Where a Redis is: one server, a cluster, or servers that sentinels watch.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ::redis::{Client, IntoConnectionInfo, TlsCertificates};

use crate::Error;

/// What schemes name, with and without TLS.
const SCHEMES: [(&str, Deployment); 3] = [
    ("redis", Deployment::Server),
    ("redis-cluster", Deployment::Cluster),
    ("redis-sentinel", Deployment::Sentinel),
];
const SENTINEL_PORT: u16 = 26_379;
const REDIS_PORT: u16 = 6_379;

/// How the servers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deployment {
    /// One server.
    Server,
    /// The nodes of a cluster.
    Cluster,
    /// Sentinels, which know the primary of a service.
    Sentinel,
}

/// The URL of a Redis, one of
///
/// - `redis://[user:password@]host[:port][/database]`
/// - `redis-cluster://[user:password@]host[:port][,host[:port]…]`: some nodes, the others are learnt of them
/// - `redis-sentinel://[user:password@]host[:port][,host[:port]…]/service[/database]`: the sentinels, and the
///   name under which they watch the primary
///
/// `rediss…` is the same over TLS: the certificates of the servers must name the hosts, and lead to a root that is
/// known publicly, or that is in the PEM file of `?ca=/path`, which is read once and then trusted alone. User and password are percent-encoded, and are those of the servers; sentinels
/// that want some have `?sentinel_username=…&sentinel_password=…`. `?replicas=n` lets a write be answered
/// only when `n` replicas have it. `Debug` and `Display` hide passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) deployment: Deployment,
    tls: bool,
    /// PEM of the roots that are trusted instead of those that are known publicly.
    roots: Option<Arc<[u8]>>,
    /// With the `@` when there are any.
    credentials: String,
    sentinel_credentials: String,
    /// Each with its port.
    hosts: Vec<String>,
    pub(super) service: String,
    database: u32,
    replicas: usize,
    /// What the client itself understands: `?protocol=…`, `#insecure`.
    rest: String,
}

impl RedisUrl {
    /// How many replicas must have a write before it is answered.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The hosts that are named, each with its port.
    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// A client of the server at `host:port`.
    pub(super) fn server(&self, address: &str) -> Result<Client, ::redis::RedisError> {
        self.client(&self.credentials, address, self.database)
    }

    /// A client of the sentinel at `host:port`.
    pub(super) fn sentinel(&self, address: &str) -> Result<Client, ::redis::RedisError> {
        self.client(&self.sentinel_credentials, address, 0)
    }

    fn client(&self, credentials: &str, address: &str, database: u32) -> Result<Client, ::redis::RedisError> {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let url = format!("{scheme}://{credentials}{address}/{database}{}", self.rest);
        let info = url.into_connection_info()?;
        match &self.roots {
            None => Client::open(info),
            Some(roots) => {
                let root_cert = Some(roots.to_vec());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
        }
    }
}

impl FromStr for RedisUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|rule| Error::Invalid {
            what: "the URL of redis",
            rule: format!("{}: {rule}", without_password(text)),
        })
    }
}

fn parse(text: &str) -> Result<RedisUrl, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it must have a scheme")?;
    let (deployment, tls) = deployment(scheme)?;
    // First of all, so that no part of a password is taken for something that may be shown.
    let (credentials, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (rest, fragment) = cut(rest, '#');
    let (rest, query) = cut(rest, '?');
    let (hosts, path) = cut(rest, '/');
    let (service, database) = service_and_database(deployment, path)?;
    let mut url = RedisUrl {
        deployment,
        tls,
        roots: None,
        credentials: at(credentials),
        sentinel_credentials: String::new(),
        hosts: hosts_of(deployment, hosts)?,
        service,
        database,
        replicas: 0,
        rest: String::new(),
    };
    url.take_options(query)?;
    if !fragment.is_empty() {
        url.rest = format!("{}#{fragment}", url.rest);
    }
    for host in &url.hosts {
        url.server(host).and(url.sentinel(host)).map_err(|error| error.to_string())?;
    }
    Ok(url)
}

fn deployment(scheme: &str) -> Result<(Deployment, bool), String> {
    for (name, deployment) in SCHEMES {
        if scheme == name || scheme == name.replacen("redis", "rediss", 1) {
            return Ok((deployment, scheme != name));
        }
    }
    Err("its scheme must be redis, redis-cluster or redis-sentinel, or one of these with rediss for TLS"
        .into())
}

/// What stands before and behind a separator; nothing behind it when there is none.
fn cut(text: &str, separator: char) -> (&str, &str) {
    text.split_once(separator).unwrap_or((text, ""))
}

fn at(credentials: &str) -> String {
    if credentials.is_empty() { String::new() } else { format!("{credentials}@") }
}

fn service_and_database(deployment: Deployment, path: &str) -> Result<(String, u32), String> {
    let (service, database) = match deployment {
        Deployment::Sentinel => cut(path, '/'),
        _ => ("", path),
    };
    if deployment == Deployment::Sentinel && service.is_empty() {
        return Err("the path must name the service that the sentinels watch, such as /mymaster".into());
    }
    let database = match database.trim_end_matches('/') {
        "" => 0,
        number => number.parse().map_err(|_| format!("the database {number:?} must be a number"))?,
    };
    if deployment == Deployment::Cluster && database != 0 {
        return Err(format!("the database {database} is not in a cluster, which has 0 alone"));
    }
    Ok((service.to_owned(), database))
}

fn hosts_of(deployment: Deployment, hosts: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<_> = hosts.split(',').map(|host| host_of(deployment, host)).collect::<Result<_, _>>()?;
    if deployment == Deployment::Server && hosts.len() > 1 {
        return Err("it names several hosts: use redis-cluster:// or redis-sentinel://".into());
    }
    Ok(hosts)
}

fn host_of(deployment: Deployment, host: &str) -> Result<String, String> {
    // The colons of an IPv6 address stand in brackets.
    let port_at = host.rfind(':').filter(|colon| host.rfind(']').is_none_or(|bracket| bracket < *colon));
    let (name, port) = port_at.map_or((host, None), |colon| (&host[..colon], Some(&host[colon + 1..])));
    if name.is_empty() {
        return Err(format!("the host {host:?} must have a name"));
    }
    let default = if deployment == Deployment::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port > 0));
    let port = port.ok_or_else(|| format!("the port of {host:?} must be a number from 1 to 65535"))?;
    Ok(format!("{name}:{port}"))
}

impl RedisUrl {
    fn take_options(&mut self, query: &str) -> Result<(), String> {
        let (mut user, mut password, mut kept) = ("", "", Vec::new());
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = cut(option, '=');
            match name {
                "sentinel_username" if self.deployment == Deployment::Sentinel => user = value,
                "sentinel_password" if self.deployment == Deployment::Sentinel => password = value,
                "replicas" => {
                    let number = value.parse().map_err(|_| format!("replicas={value} must be a number"))?;
                    self.replicas = number;
                }
                "ca" if self.tls => self.roots = Some(roots(value)?),
                "protocol" => kept.push(option),
                _ => return Err(format!("the option {name:?} is not known here")),
            }
        }
        if !(user.is_empty() && password.is_empty()) {
            self.sentinel_credentials = format!("{user}:{password}@");
        }
        if !kept.is_empty() {
            self.rest = format!("?{}", kept.join("&"));
        }
        Ok(())
    }
}

/// What stands in the file that `ca` names.
fn roots(path: &str) -> Result<Arc<[u8]>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("ca={path} cannot be read: {error}"))?;
    let holds_some = pem.windows(5).any(|word| word == b"BEGIN");
    if holds_some { Ok(pem.into()) } else { Err(format!("ca={path} holds no certificate in PEM")) }
}

/// The URL of a store as it may be shown: without its passwords. It need not be a good one.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password that holds a slash or a question mark unescaped: everything up to the last @ may be part of it.
    let (secret, place) = rest.rsplit_once('@').map_or((None, rest), |(secret, place)| (Some(secret), place));
    let user = secret.map(|secret| format!("{}:***@", cut(secret, ':').0)).unwrap_or_default();
    let (place, query) = cut(place, '?');
    let query = if query.is_empty() { String::new() } else { format!("?{}", options_shown(query)) };
    format!("{scheme}://{user}{place}{query}")
}

fn options_shown(query: &str) -> String {
    let hidden = |option: &str| match cut(option, '=') {
        ("replicas" | "protocol" | "sentinel_username" | "ca", _) => option.to_owned(),
        (name, _) => format!("{name}=***"),
    };
    query.split('&').map(hidden).collect::<Vec<_>>().join("&")
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.hosts.join(",");
        match self.deployment {
            Deployment::Server => formatter.write_str(&places),
            Deployment::Cluster => write!(formatter, "the cluster of {places}"),
            Deployment::Sentinel => write!(formatter, "{} of the sentinels {places}", self.service),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests;
