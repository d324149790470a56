//! Network interfaces: counters from /proc at every sample, addresses now and then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use procfs::net::dev_status;
use sysinfo::Networks;

/// How long addresses are taken for known.
const ADDRESSES_HOLD: Duration = Duration::from_secs(30);
/// At most this many are told of.
const MOST: usize = 256;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Bytes received since boot.
    pub received: u64,
    /// Bytes sent since boot.
    pub sent: u64,
    /// Addresses, CIDR.
    pub addresses: Vec<String>,
}

/// Addresses in CIDR, by interface.
type Addresses = HashMap<String, Vec<String>>;

/// Reads interfaces.
#[derive(Debug, Default)]
pub(crate) struct Network {
    addresses: Mutex<Option<(Instant, Addresses)>>,
}

impl Network {
    /// The interfaces, by name.
    pub(crate) fn read(&self) -> Vec<Interface> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let known = addresses.take().filter(|(read, _)| read.elapsed() < ADDRESSES_HOLD);
        let (_, by_name) = addresses.insert(known.unwrap_or_else(|| (Instant::now(), read_addresses())));
        let mut interfaces: Vec<_> = dev_status()
            .unwrap_or_default()
            .into_values()
            .map(|status| Interface {
                addresses: by_name.get(&status.name).cloned().unwrap_or_default(),
                name: status.name,
                received: status.recv_bytes,
                sent: status.sent_bytes,
            })
            .collect();
        interfaces.sort_by(|one, other| one.name.cmp(&other.name));
        interfaces.truncate(MOST);
        interfaces
    }
}

fn read_addresses() -> Addresses {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return HashMap::new() };
    let addresses =
        |data: &sysinfo::NetworkData| data.ip_networks().iter().map(ToString::to_string).collect();
    networks.iter().map(|(name, data)| (name.to_string_lossy().into_owned(), addresses(data))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let interfaces = Network::default().read();
        let loopback = interfaces.iter().find(|interface| interface.name == "lo");
        assert!(loopback.is_none_or(|lo| lo.addresses.contains(&"127.0.0.1/8".to_owned())), "{loopback:?}");
    }
}
