//! Which URLs are read, how bad ones are refused, and what is shown of them.

use super::*;

fn good(url: &str) -> RedisUrl {
    url.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn bad(url: &str, rule: &str) {
    let refusal = url.parse::<RedisUrl>().unwrap_err().to_string();
    assert!(refusal.contains(rule), "{refusal}");
    assert!(!refusal.contains("secret"), "{refusal}");
}

#[test]
fn a_server_has_a_port_and_a_database() {
    let url = good("redis://ada:p%40ss@here/3?protocol=resp3");
    let client = url.server(&url.hosts()[0]).unwrap();
    let info = client.get_connection_info();
    assert_eq!(info.addr().to_string(), "here:6379");
    let settings = info.redis_settings();
    assert_eq!((settings.db(), settings.username(), settings.password()), (3, Some("ada"), Some("p@ss")));
}

#[test]
fn a_cluster_names_some_of_its_nodes() {
    let url = good("rediss-cluster://:pw@a:7001,b,[::1]:7003#insecure");
    assert_eq!((url.deployment, url.tls), (Deployment::Cluster, true));
    assert_eq!(url.hosts(), ["a:7001", "b:6379", "[::1]:7003"]);
}

#[test]
fn sentinels_have_a_service_and_credentials_of_their_own() {
    let url = good("redis-sentinel://ada:pw@a,b:5000/mymaster/2?sentinel_password=other&replicas=1");
    assert_eq!((url.hosts(), &*url.service), (&["a:26379".to_owned(), "b:5000".to_owned()][..], "mymaster"));
    assert_eq!((url.database, url.replicas()), (2, 1));
    let client = url.sentinel("a:26379").unwrap();
    let settings = client.get_connection_info().redis_settings();
    assert_eq!((settings.db(), settings.username(), settings.password()), (0, None, Some("other")));
}

#[test]
fn a_bad_url_is_refused_with_the_rule_that_it_breaks() {
    bad("localhost:6379", "it must have a scheme");
    bad("postgres://:secret@localhost", "its scheme must be redis, redis-cluster or redis-sentinel");
    bad("redis://", "the host \"\" must have a name");
    bad("redis:///0", "the host \"\" must have a name");
    bad("redis://:secret@a,b", "it names several hosts");
    bad("redis://:secret@a/x", "the database \"x\" must be a number");
    bad("redis-cluster://a:1,,b:2", "the host \"\" must have a name");
    bad("redis-cluster://a:70000", "the port of \"a:70000\" must be a number from 1 to 65535");
    bad("redis-cluster://a/1", "a cluster, which has 0 alone");
    bad("redis-sentinel://:secret@a,b", "must name the service");
    bad("redis-sentinel://a/m?sentinel_pass=secret", "the option \"sentinel_pass\" is not known");
    bad("redis-cluster://a?sentinel_password=secret", "the option \"sentinel_password\" is not known here");
    bad("rediss://:secret@a?ca=/nowhere.pem", "ca=/nowhere.pem cannot be read");
    bad("rediss://:secret@a?ca=/dev/null", "ca=/dev/null holds no certificate");
    bad("redis://:secret@a?ca=/dev/null", "the option \"ca\" is not known here");
    bad("redis://a?replicas=all", "replicas=all must be a number");
}

#[test]
fn passwords_are_not_shown() {
    let shown = |url, shown| assert_eq!(without_password(url), shown);
    shown("sqlite", "sqlite");
    shown("redis://localhost:6379/0", "redis://localhost:6379/0");
    shown("redis://:secret@localhost:6379/0", "redis://:***@localhost:6379/0");
    shown("rediss://nova:se@c/ret@redis.example:6380/1", "rediss://nova:***@redis.example:6380/1");
    shown(
        "redis-sentinel://:secret@a,b/m?sentinel_password=secret&replicas=1",
        "redis-sentinel://:***@a,b/m?sentinel_password=***&replicas=1",
    );
    let url = good("redis-sentinel://ada:secret@a/m?sentinel_password=secret");
    assert_eq!(format!("{url:?} {url}"), "RedisUrl(m of the sentinels a:26379) m of the sentinels a:26379");
}
