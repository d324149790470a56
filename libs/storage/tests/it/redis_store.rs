//! The connection to Redis: which servers it takes, functions that come back.

use std::time::Duration;

use nova_storage::Error;
use nova_storage::redis::{Library, RedisStore};
use nova_testkit::redis::{RedisCluster, RedisSentinel, RedisServer, shared_sentinel};
use nova_testkit::soon;

const SOURCE: &str = "
    redis.register_function('@LIB@_echo', function(keys, args) return { keys[1], args[1] } end)
    redis.register_function('@LIB@_fail', function() return redis.error_reply('NOVA no') end)
";

/// Nobody fails over because the machine is busy.
const LONG: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> Result<RedisStore, Error> {
    RedisStore::connect(&url.parse()?, "k").await
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let refusal = connect(&server.url()).await.unwrap_err();
    assert!(matches!(&refusal, Error::RedisEvicts { policy, .. } if policy == "allkeys-lru"), "{refusal}");
    assert!(!refusal.is_retryable());
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_its_password() {
    let mut server = RedisServer::start();
    server.kill();
    let url = format!("redis://user:secret@127.0.0.1:{}", server.port());
    let refusal = connect(&url).await.unwrap_err();
    assert!(refusal.is_retryable());
    assert!(refusal.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{refusal}");
    assert!(!format!("{refusal:?}").contains("secret"));
}

#[tokio::test]
async fn a_wrong_password_or_url_is_not_worth_another_try() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let wrong = format!("redis://:wrong@127.0.0.1:{}", server.port());
    for url in [wrong.as_str(), &server.url(), "postgres://127.0.0.1"] {
        let refusal = connect(url).await.unwrap_err();
        assert!(!refusal.is_retryable(), "{url}: {refusal:?}");
    }
    connect(&format!("redis://:right@127.0.0.1:{}", server.port())).await.unwrap();
}

#[tokio::test]
async fn functions_take_and_return_bytes() {
    let server = RedisServer::start();
    let functions = connect(&server.url()).await.unwrap().load(Library::new("echo", SOURCE)).await.unwrap();
    let binary = [0_u8, 255, 13, 10];
    let answer: (String, Vec<u8>) = functions.call("echo", &["{k}:1"], &[&binary[..]]).await.unwrap();
    assert_eq!(answer, ("{k}:1".to_owned(), binary.to_vec()));
    let none: [&str; 0] = [];
    let failure = functions.call::<(), _, _>("fail", &none, &none).await.unwrap_err();
    assert!(!failure.is_retryable());
}

#[tokio::test]
async fn a_library_that_the_server_lost_is_loaded_again() {
    let server = RedisServer::start();
    let store = connect(&server.url()).await.unwrap();
    let functions = store.load(Library::new("echo", SOURCE)).await.unwrap();
    let flush = redis::cmd("FUNCTION").arg("FLUSH").to_owned();
    store.query::<()>(&flush).await.unwrap();
    let answer: (String, String) = functions.call("echo", &["k"], &["v"]).await.unwrap();
    assert_eq!(answer, ("k".to_owned(), "v".to_owned()));
}

#[tokio::test]
async fn two_versions_of_a_library_live_side_by_side() {
    let server = RedisServer::start();
    let store = connect(&server.url()).await.unwrap();
    let newer = SOURCE.replace("args[1] }", "'newer' }");
    let old = store.load(Library::new("echo", SOURCE)).await.unwrap();
    let new = store.load(Library::new("echo", &newer)).await.unwrap();
    store.load(Library::new("echo", SOURCE)).await.unwrap();
    let answer: (String, String) = old.call("echo", &["k"], &["v"]).await.unwrap();
    assert_eq!(answer.1, "v");
    let answer: (String, String) = new.call("echo", &["k"], &["v"]).await.unwrap();
    assert_eq!(answer.1, "newer");
}

#[tokio::test]
async fn a_source_that_does_not_compile_is_refused() {
    let server = RedisServer::start();
    let store = connect(&server.url()).await.unwrap();
    assert!(matches!(store.load(Library::new("broken", "this is not lua")).await, Err(Error::Redis(_))));
}

#[tokio::test]
async fn a_promoted_server_that_evicts_is_refused() {
    let redis = RedisSentinel::start(LONG);
    let store = connect(&redis.url()).await.unwrap();
    redis.replica.query::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    redis.promote();
    soon("it is refused", LONG, || async {
        let refusal = store.query::<()>(redis::cmd("SET").arg("{k}").arg("v")).await.err()?;
        refusal.to_string().contains("set maxmemory-policy to noeviction").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_that_no_sentinel_knows_is_named() {
    let url = shared_sentinel().url().replace("/nova/", "/avon/");
    let refusal = connect(&url).await.unwrap_err();
    assert!(format!("{refusal:?}").contains("avon"), "{refusal:?}");
}

#[tokio::test]
async fn a_server_that_is_no_cluster_is_refused() {
    let server = RedisServer::start();
    let refusal = connect(&format!("redis-cluster://127.0.0.1:{}", server.port())).await.unwrap_err();
    assert!(!refusal.is_retryable(), "{refusal:?}");
}

/// Sets a password, which only the URL with it gets past.
async fn wants_its_password(url: &str, servers: &[&RedisServer]) {
    for server in servers {
        server.query::<()>(&["CONFIG", "SET", "requirepass", "right"]);
    }
    connect(&url.replace("://", "://:right@")).await.unwrap();
    let refusal = connect(&url.replace("://", "://:wrong@")).await.unwrap_err();
    assert!(!refusal.is_retryable(), "{refusal:?}");
}

#[tokio::test]
async fn the_nodes_of_a_cluster_want_their_password() {
    let redis = RedisCluster::start(LONG);
    wants_its_password(&redis.url(), &redis.nodes().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn the_server_that_sentinels_name_wants_its_password() {
    let redis = RedisSentinel::start(LONG);
    wants_its_password(&redis.url(), &[&redis.primary]).await;
}
