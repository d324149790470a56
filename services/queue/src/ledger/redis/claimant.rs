//! Who wants to own the ledger, and whether an owner is still there.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use nova_types::Violation;
use tokio::{net::TcpStream, time::timeout};
use uuid::Uuid;

/// How long an owner has to accept a connection before it is given the benefit of the doubt.
const KNOCK: Duration = Duration::from_millis(500);

/// Who wants to own the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    /// Differs for each start of each daemon.
    pub(crate) instance: Uuid,
    /// Where other daemons reach it.
    pub(crate) url: Arc<str>,
    /// The host, and the network of it, that its own addresses belong to.
    pub(crate) host: Arc<str>,
}

impl Claimant {
    /// This daemon, at the URL that it tells others.
    ///
    /// # Errors
    /// No daemon of another host could reach it there.
    pub(crate) fn new(url: &str) -> Result<Self, Violation> {
        let everywhere = ip_of(url).is_some_and(|ip| ip.is_unspecified());
        let rule = format!(
            "{url} is every address of a host: daemons that share a Redis need one at which they reach each other"
        );
        Violation::require(!everywhere, "runtime.advertise", &rule)?;
        Ok(Self { instance: Uuid::now_v7(), url: url.into(), host: host() })
    }

    /// Whether the owner at a URL is surely gone: it is an earlier start of this daemon, or its address refuses
    /// connections. What another host calls by an address that each host has for itself cannot be asked from here.
    pub(super) async fn finds_gone(&self, url: &str, host: &str) -> bool {
        if host == &*self.host {
            return url == &*self.url || refuses(url).await;
        }
        !self.cannot_reach(url, host) && refuses(url).await
    }

    /// Whether a URL leads elsewhere from here than from the host that told it.
    pub(super) fn cannot_reach(&self, url: &str, host: &str) -> bool {
        host != &*self.host && (url == &*self.url || is_local(url))
    }
}

/// What tells hosts apart, and networks of one: containers have addresses of their own. Empty where the system does not say.
fn host() -> Arc<str> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let network = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("{} {}", boot.trim(), network.display()).trim().into()
}

fn address_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

fn ip_of(url: &str) -> Option<IpAddr> {
    address_of(url).parse::<SocketAddr>().ok().map(|address| address.ip())
}

fn is_local(url: &str) -> bool {
    ip_of(url).is_some_and(|ip| ip.is_loopback()) || address_of(url).starts_with("localhost:")
}

async fn refuses(url: &str) -> bool {
    let knocked = timeout(KNOCK, TcpStream::connect(address_of(url))).await;
    matches!(knocked, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn at(url: &str) -> Claimant {
        Claimant { instance: Uuid::now_v7(), url: url.into(), host: "here".into() }
    }

    /// An address of this host at which nobody listens.
    fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("https://{}", listener.local_addr().unwrap())
    }

    #[test]
    fn a_daemon_that_shares_a_store_says_where_it_is() {
        for url in ["https://0.0.0.0:7101", "https://[::]:7101"] {
            let refusal = Claimant::new(url).unwrap_err();
            assert_eq!(refusal.field, "runtime.advertise");
            assert!(refusal.rule.contains(url), "{refusal}");
        }
        for url in ["https://127.0.0.1:7101", "https://queue-1:7101"] {
            assert_eq!(&*Claimant::new(url).unwrap().url, url);
        }
    }

    #[tokio::test]
    async fn an_owner_of_this_host_is_gone_when_it_was_started_again_or_refuses() {
        let claimant = at("https://127.0.0.1:1");
        assert!(claimant.finds_gone("https://127.0.0.1:1", "here").await);
        assert!(claimant.finds_gone(&nobody(), "here").await);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = format!("https://{}", listener.local_addr().unwrap());
        assert!(!claimant.finds_gone(&there, "here").await);
    }

    #[tokio::test]
    async fn an_owner_of_another_host_is_not_looked_for_at_an_address_of_this_one() {
        let url = nobody();
        let claimant = at("https://127.0.0.1:1");
        for told in [&*url, "https://127.0.0.1:1"] {
            assert!(!claimant.finds_gone(told, "there").await, "{told}");
            assert!(claimant.cannot_reach(told, "there"), "{told}");
        }
        assert!(!claimant.cannot_reach("https://queue-1:7101", "there"));
    }

    #[tokio::test]
    async fn an_owner_of_another_host_with_the_same_url_is_not_this_daemon() {
        let claimant = at("https://queue:7101");
        assert!(!claimant.finds_gone("https://queue:7101", "there").await);
        assert!(claimant.cannot_reach("https://queue:7101", "there"));
    }
}
