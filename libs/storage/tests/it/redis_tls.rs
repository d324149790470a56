//! A Redis that is reached over TLS, and whose certificate is trusted; wherever its cluster or its sentinels say.

use std::time::Duration;

use nova_storage::Error;
use nova_storage::redis::RedisStore;
use nova_testkit::eventually;
use nova_testkit::redis::{RedisCluster, RedisSentinel, RedisTls};

/// Nobody fails over because the machine is busy.
const LONG: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> Result<RedisStore, Error> {
    RedisStore::connect(&url.parse()?, "k").await
}

#[tokio::test]
async fn a_server_is_reached_over_tls() {
    let tls = RedisTls::new();
    let (server, port) = tls.server();
    let store = connect(&tls.url(port)).await.unwrap();
    store.query::<()>(redis::cmd("SET").arg("{k}").arg("said over TLS")).await.unwrap();
    assert_eq!(server.query::<String>(&["GET", "{k}"]), "said over TLS");
}

#[tokio::test]
async fn a_server_whose_certificate_leads_to_no_trusted_root_is_refused() {
    let (tls, stranger) = (RedisTls::new(), RedisTls::new());
    let (_server, port) = tls.server();
    connect(&stranger.url(port)).await.unwrap_err();
    connect(&format!("rediss://127.0.0.1:{port}")).await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_spoken_to() {
    let tls = RedisTls::new();
    let (server, _) = tls.server();
    connect(&tls.url(server.port())).await.unwrap_err();
}

#[tokio::test]
async fn a_cluster_is_reached_over_tls_wherever_its_keys_are() {
    let tls = RedisTls::new();
    let (cluster, ports) = RedisCluster::start_with_tls(LONG, &tls);
    for (number, port) in ports.iter().enumerate() {
        let name = format!("store-{number}");
        let url = tls.url(*port).replacen("rediss", "rediss-cluster", 1);
        let store = RedisStore::connect(&url.parse().unwrap(), &name).await.unwrap();
        let key = format!("{{{name}}}");
        store.query::<()>(redis::cmd("SET").arg(&key).arg("v")).await.unwrap();
        let owner = &cluster.primaries[cluster.owner(&name)];
        assert_eq!(owner.query::<String>(&["GET", &key]), "v");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_asked_over_tls_and_their_primary_is_followed() {
    let tls = RedisTls::new();
    let (redis, url) = RedisSentinel::start_with_tls(LONG, &tls);
    let store = connect(&url).await.unwrap();
    let set = async |value: &str| store.query::<()>(redis::cmd("SET").arg("{k}").arg(value)).await;
    set("before").await.unwrap();
    assert_eq!(redis.primary.query::<String>(&["GET", "{k}"]), "before");
    redis.promote();
    let leads = || redis.replica.query::<String>(&["INFO", "replication"]).contains("role:master");
    eventually("the replica is promoted", LONG, || leads().then_some(()));
    let give_up = std::time::Instant::now() + LONG;
    while redis.replica.query::<String>(&["GET", "{k}"]) != "after" {
        assert!(std::time::Instant::now() < give_up, "nothing is written to the new primary");
        set("after").await.ok();
    }
}
