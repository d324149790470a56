//! A cluster: three primaries, which share the slots, and a replica when it is asked for.

use std::time::Duration;

use super::{RedisServer, RedisTls, free_port};
use crate::eventually;

const SLOTS: usize = 16_384;
const PRIMARIES: usize = 3;
/// A node begins to serve two seconds after it started.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running cluster; its nodes are killed when this is dropped.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes that own the slots at first, each a third of them in order.
    pub primaries: Vec<RedisServer>,
    /// Of one of them.
    pub replica: Option<RedisServer>,
}

impl RedisCluster {
    /// Three primaries. A node that is silent for `timeout` is taken for dead.
    ///
    /// # Panics
    /// When it does not come to agree.
    #[track_caller]
    pub fn start(timeout: Duration) -> Self {
        Self::start_each(timeout, |_| Vec::new())
    }

    /// The same, whose nodes speak TLS with each other, and with clients at these ports.
    ///
    /// # Panics
    /// See [`RedisCluster::start`].
    #[track_caller]
    pub fn start_with_tls(timeout: Duration, tls: &RedisTls) -> (Self, Vec<u16>) {
        let ports: Vec<u16> = (0..PRIMARIES).map(|_| free_port()).collect();
        let among_each_other = ["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned);
        let settings =
            |number: usize| tls.settings(ports[number]).into_iter().chain(among_each_other.clone()).collect();
        (Self::start_each(timeout, settings), ports)
    }

    #[track_caller]
    fn start_each(timeout: Duration, settings: impl Fn(usize) -> Vec<String>) -> Self {
        let ports: Vec<u16> = (0..PRIMARIES).map(|_| free_port()).collect();
        let start = |number: usize| node(ports[number], timeout, &settings(number));
        let primaries: Vec<_> = (0..PRIMARIES).map(start).collect();
        for (number, primary) in primaries.iter().enumerate() {
            let (first, after) = (SLOTS * number / PRIMARIES, SLOTS * (number + 1) / PRIMARIES);
            let (first, last) = (first.to_string(), (after - 1).to_string());
            primary.query::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            primary.query::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            meet(&primaries[0], primary, ports[number]);
        }
        let cluster = Self { primaries, replica: None };
        cluster.agree();
        cluster
    }

    /// The same with a replica of the node that owns a hash tag.
    ///
    /// # Panics
    /// See [`RedisCluster::start`].
    #[track_caller]
    pub fn with_replica_of(tag: &str, timeout: Duration) -> Self {
        let mut cluster = Self::start(timeout);
        let port = free_port();
        let replica = node(port, timeout, &[]);
        meet(&cluster.primaries[0], &replica, port);
        let owner: String = cluster.primaries[cluster.owner(tag)].query(&["CLUSTER", "MYID"]);
        eventually("the replica knows its primary", PATIENCE, || {
            replica.try_query::<()>(&["CLUSTER", "REPLICATE", &owner]).ok()
        });
        replica.catch_up_with(&cluster.primaries[cluster.owner(tag)]);
        cluster.replica = Some(replica);
        cluster.agree();
        cluster
    }

    /// `redis-cluster://…` with every node.
    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }

    /// Which of the primaries owned a hash tag at first.
    pub fn owner(&self, tag: &str) -> usize {
        let slot: usize = self.primaries[0].query(&["CLUSTER", "KEYSLOT", tag]);
        (0..PRIMARIES).find(|number| slot < SLOTS * (number + 1) / PRIMARIES).expect("a slot has an owner")
    }

    /// Moves the slot of a hash tag, with its keys, from its first owner to another primary.
    ///
    /// # Panics
    /// When a node refuses.
    #[track_caller]
    pub fn move_slot(&self, tag: &str, to: usize) {
        self.move_keys(tag, to);
        self.move_ownership(tag, to);
    }

    /// The first half of [`RedisCluster::move_slot`]: the node `to` has the keys, and `from` still owns the slot, so
    /// that it sends those who ask to the other.
    ///
    /// # Panics
    /// When a node refuses.
    #[track_caller]
    pub fn move_keys(&self, tag: &str, to: usize) {
        let (from, to) = (&self.primaries[self.owner(tag)], &self.primaries[to]);
        let slot = slot_of(from, tag);
        let (source, target) = (id_of(from), id_of(to));
        to.query::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        from.query::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
        let port = to.port().to_string();
        loop {
            let keys: Vec<String> = from.query(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]);
            let Some(key) = keys.first() else { break };
            from.query::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
    }

    /// The second half: the node `to` owns the slot.
    ///
    /// # Panics
    /// When a node refuses.
    #[track_caller]
    pub fn move_ownership(&self, tag: &str, to: usize) {
        let (from, to) = (&self.primaries[self.owner(tag)], &self.primaries[to]);
        let (slot, target) = (slot_of(from, tag), id_of(to));
        for node in [to, from] {
            node.query::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        }
    }

    /// Forgets every key.
    pub fn flush(&self) {
        self.primaries.iter().for_each(|primary| primary.query(&["FLUSHALL"]));
    }

    /// Every node that was started.
    pub fn nodes(&self) -> impl Iterator<Item = &RedisServer> {
        self.primaries.iter().chain(&self.replica)
    }

    /// Waits until all nodes see the same, and their replica has caught up.
    #[track_caller]
    fn agree(&self) {
        let known = format!("cluster_known_nodes:{}\r", self.nodes().count());
        for node in self.nodes() {
            eventually("the nodes of a cluster agree", PATIENCE, || {
                let info: String = node.query(&["CLUSTER", "INFO"]);
                (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
            });
        }
    }
}

fn slot_of(node: &RedisServer, tag: &str) -> String {
    node.query::<u16>(&["CLUSTER", "KEYSLOT", tag]).to_string()
}

fn id_of(node: &RedisServer) -> String {
    node.query(&["CLUSTER", "MYID"])
}

fn node(bus: u16, timeout: Duration, further: &[String]) -> RedisServer {
    let (bus, timeout) = (bus.to_string(), timeout.as_millis().to_string());
    let own = [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        &timeout,
        "--repl-diskless-sync-delay",
        "0",
    ];
    let further = further.iter().map(String::as_str);
    RedisServer::start_with(&own.into_iter().chain(further).collect::<Vec<_>>())
}

fn meet(first: &RedisServer, other: &RedisServer, bus: u16) {
    let (port, bus) = (other.port().to_string(), bus.to_string());
    first.query::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
}
