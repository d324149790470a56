//! `host.network`: interfaces, the default route and the name servers.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use serde::Serialize;
use sysinfo::{NetworkData, Networks};

use super::unreadable;
use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Interfaces reported at most.
const MOST: usize = 128;
/// Addresses of one interface, name servers and search domains reported at most.
const ADDRESSES: usize = 16;

/// The network of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkFinding {
    /// By name, at most 128.
    pub interfaces: Vec<Interface>,
    /// How many there are in all.
    pub found: usize,
    /// Where packets for elsewhere go; unset when nowhere.
    pub default_route: Option<Route>,
    /// Addresses of the name servers, the first 16.
    pub name_servers: Vec<String>,
    /// Domains tried for short names, the first 16.
    pub search_domains: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Name, such as `eth0`.
    pub name: String,
    /// Addresses with their prefix length, at most 16.
    pub addresses: Vec<String>,
    /// How many it has in all.
    pub address_count: usize,
    /// Largest packet, in bytes.
    pub mtu: u64,
    /// Received since the start, in bytes.
    pub received: u64,
    /// Sent since the start, in bytes.
    pub sent: u64,
    /// Errors either way since the start.
    pub errors: u64,
}

/// The default route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Address of the next hop; `0.0.0.0` when the interface itself leads on.
    pub gateway: String,
    /// Interface it goes out by.
    pub interface: String,
}

/// Serves `host.network`.
pub fn run(_: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine(Path::new("/"))?)
}

/// Looks at the network; `root` is where `proc` and `etc` are.
pub fn examine(root: &Path) -> Result<NetworkFinding, SkillError> {
    let networks = Networks::new_with_refreshed_list().map_err(unreadable("the network"))?;
    let mut interfaces: Vec<Interface> =
        networks.iter().map(|(name, data)| interface(&name.to_string_lossy(), data)).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    let found = interfaces.len();
    interfaces.truncate(MOST);
    let resolver = fs::read_to_string(root.join("etc/resolv.conf")).unwrap_or_default();
    Ok(NetworkFinding {
        interfaces,
        found,
        default_route: default_route(&fs::read_to_string(root.join("proc/net/route")).unwrap_or_default()),
        name_servers: values(&resolver, "nameserver"),
        search_domains: values(&resolver, "search"),
    })
}

fn interface(name: &str, data: &NetworkData) -> Interface {
    Interface {
        name: name.to_owned(),
        addresses: data.ip_networks().iter().take(ADDRESSES).map(ToString::to_string).collect(),
        address_count: data.ip_networks().len(),
        mtu: data.mtu(),
        received: data.total_received(),
        sent: data.total_transmitted(),
        errors: data.total_errors_on_received() + data.total_errors_on_transmitted(),
    }
}

/// Reads the kernel's IPv4 table: addresses are hexadecimal, in the byte order of the host.
fn default_route(table: &str) -> Option<Route> {
    let mut routes: Vec<(u32, Route)> = table.lines().skip(1).filter_map(default_of).collect();
    routes.sort_by_key(|(metric, _)| *metric);
    routes.into_iter().next().map(|(_, route)| route)
}

fn default_of(line: &str) -> Option<(u32, Route)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, gateway, _, _, _, metric, mask, ..] = fields[..] else { return None };
    let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
    let everywhere = destination == "00000000" && mask == "00000000";
    let route = Route { gateway: gateway.to_string(), interface: interface.to_owned() };
    everywhere.then_some((metric.parse().ok()?, route))
}

fn values(resolver: &str, key: &str) -> Vec<String> {
    let lines = resolver.lines().filter_map(|line| line.trim().strip_prefix(key));
    lines.flat_map(str::split_whitespace).take(ADDRESSES).map(str::to_owned).collect()
}

impl Finding for NetworkFinding {
    fn summary(&self) -> String {
        let interfaces = self.interfaces.iter().map(|interface| {
            format!(
                "{} ({})",
                interface.name,
                text::list_of(&interface.addresses, interface.address_count, 2)
            )
        });
        let route = match &self.default_route {
            Some(route) => format!("default route by {} through {}", route.gateway, route.interface),
            None => "no default route".to_owned(),
        };
        format!(
            "{}: {}; {route}; name servers: {}",
            text::count(self.found as u64, "interface"),
            text::list(interfaces, 4),
            text::list(self.name_servers.iter().cloned(), 3),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t0011A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        wlan0\t00000000\tFE00A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t0111A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn default_route_is_the_one_with_the_least_metric() {
        let route = default_route(TABLE).unwrap();
        assert_eq!((route.gateway.as_str(), route.interface.as_str()), ("192.168.17.1", "eth0"));
    }

    #[test]
    fn host_without_a_route_says_so() {
        assert_eq!(default_route("Iface\tDestination\n"), None);
    }

    #[test]
    fn name_servers_are_read_in_order() {
        let resolver = "# made by hand\nsearch lan example.org\nnameserver 9.9.9.9\nnameserver 1.1.1.1\n";
        assert_eq!(values(resolver, "nameserver"), ["9.9.9.9", "1.1.1.1"]);
        assert_eq!(values(resolver, "search"), ["lan", "example.org"]);
    }

    #[test]
    fn this_host_has_an_interface() {
        assert!(!examine(Path::new("/")).unwrap().interfaces.is_empty());
    }
}
