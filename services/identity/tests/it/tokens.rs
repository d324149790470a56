//! Join tokens and bearer tokens.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use nova_identity::authority::Claims;
use nova_proto::identity::v1::{CreateJoinTokenRequest, GetBundleRequest, MintTokenRequest};
use nova_types::{Clock as _, Timestamp, wire};
use tonic::{Code, Request};

use crate::daemon::{Daemon, Place, assert_invalid, assert_refused};

fn join(subject: &str) -> CreateJoinTokenRequest {
    CreateJoinTokenRequest { subject: subject.to_owned(), ttl: None }
}

fn mint(subject: &str, roles: &[&str]) -> MintTokenRequest {
    let roles = roles.iter().map(|&role| role.to_owned()).collect();
    MintTokenRequest { subject: subject.to_owned(), roles, ttl: None }
}

/// What a token says, verified with the published keys but for its time, which the test holds.
async fn verified(daemon: &Daemon, token: &str) -> Claims {
    let bundle = daemon.identity("user/ada", &[]).get_bundle(GetBundleRequest {}).await.unwrap().into_inner();
    let keys: JwkSet = serde_json::from_str(&bundle.jwks).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&["nova"]);
    rules.validate_exp = false;
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(&keys.keys[0]).unwrap(), &rules).unwrap().claims
}

#[tokio::test]
async fn a_node_lets_an_agent_join() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    let answer = daemon.identity("svc/node", &[]).create_join_token(join("agent/orion")).await.unwrap();
    let claims = verified(&daemon, &answer.into_inner().token).await;
    assert_eq!(claims.sub, "spiffe://nova.local/agent/orion");
    assert_eq!(claims.roles, ["joining"]);
    assert_eq!(claims.exp - claims.iat, 60);
    assert_eq!(claims.iat, place.clock.now().micros() / 1_000_000);
}

#[tokio::test]
async fn only_an_operator_lets_a_daemon_join() {
    let daemon = Place::sqlite().start().await;
    let answer = daemon.identity("svc/node", &[]).create_join_token(join("svc/queue")).await;
    assert_refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    daemon.identity("user/ada", &["operator"]).create_join_token(join("svc/queue")).await.unwrap();
}

#[tokio::test]
async fn a_join_token_is_for_an_agent_or_a_daemon_and_short() {
    let daemon = Place::sqlite().start().await;
    let mut operator = daemon.identity("user/ada", &["operator"]);
    for bad in ["", "agent", "agent/", "agent/A B", "user/ada", "worker/w", "agent/a/b", "spiffe://x/agent/a"]
    {
        assert_invalid(operator.create_join_token(join(bad)).await, "subject");
    }
    for seconds in [0, 601, -1] {
        let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        assert_invalid(
            operator.create_join_token(CreateJoinTokenRequest { ttl, ..join("agent/a") }).await,
            "ttl",
        );
    }
}

#[tokio::test]
async fn an_operator_mints_a_token_with_roles() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    let request = MintTokenRequest {
        ttl: Some(wire::to_duration(Duration::from_secs(30))),
        ..mint("worker/mailer", &["worker", "viewer"])
    };
    let answer = daemon.identity("user/ada", &["operator"]).mint_token(request).await.unwrap().into_inner();
    let claims = verified(&daemon, &answer.token).await;
    assert_eq!(claims.sub, "spiffe://nova.local/worker/mailer");
    assert_eq!(claims.roles, ["worker", "viewer"]);
    let expires = Timestamp::from_wire(&answer.expire_time.unwrap());
    assert_eq!(expires, place.clock.now() + Duration::from_secs(30));
    assert_eq!(claims.exp, expires.micros() / 1_000_000);
}

#[tokio::test]
async fn nobody_else_grants_roles() {
    let daemon = Place::sqlite().start().await;
    for (caller, roles) in
        [("user/ada", &["developer"][..]), ("svc/node", &[]), ("worker/w", &["worker", "viewer"])]
    {
        let answer = daemon.identity(caller, roles).mint_token(mint("worker/w", &["viewer"])).await;
        assert_refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    }
}

#[tokio::test]
async fn a_token_has_a_good_subject_and_known_roles() {
    let daemon = Place::sqlite().start().await;
    let mut operator = daemon.identity("user/ada", &["operator"]);
    for bad in ["", "svc/queue", "agent/orion", "user/", "user/a/b", "user/operator"] {
        assert_invalid(operator.mint_token(mint(bad, &["viewer"])).await, "subject");
    }
    assert_invalid(operator.mint_token(mint("user/ada", &[])).await, "roles");
    assert_invalid(operator.mint_token(mint("user/ada", &["viewer"; 9])).await, "roles");
    assert_invalid(operator.mint_token(mint("user/ada", &["viewer", "admin"])).await, "roles[1]");
    assert_invalid(operator.mint_token(mint("user/ada", &["joining"])).await, "roles[0]");
    let ttl = Some(prost_types::Duration { seconds: 86_401, nanos: 0 });
    assert_invalid(
        operator.mint_token(MintTokenRequest { ttl, ..mint("user/ada", &["viewer"]) }).await,
        "ttl",
    );
}

/// A call that shows a verified token, which ends in half a minute.
fn by_token<T>(place: &Place, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let expires = end_of_the_bearer(place).to_string();
    request.metadata_mut().insert("x-test-token-id", "t1".parse().unwrap());
    request.metadata_mut().insert("x-test-expires", expires.parse().unwrap());
    request
}

fn end_of_the_bearer(place: &Place) -> i64 {
    place.clock.now().micros() / 1_000_000 + 30
}

#[tokio::test]
async fn a_token_grants_no_role_with_which_it_could_be_had_again() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    let mut operator = daemon.identity("user/ada", &["operator"]);
    for roles in [&["operator"][..], &["developer"], &["viewer", "operator"]] {
        let answer = operator.mint_token(by_token(&place, mint("user/ada", roles))).await;
        assert_refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        operator.mint_token(mint("user/ada", roles)).await.unwrap();
    }
    operator.mint_token(by_token(&place, mint("worker/w", &["worker", "viewer"]))).await.unwrap();
}

#[tokio::test]
async fn a_token_lets_nobody_join_who_would_outlive_it() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    for roles in [&["operator"][..], &["daemon", "node"]] {
        for subject in ["svc/queue", "agent/orion"] {
            let request = by_token(&place, join(subject));
            let answer = daemon.identity("user/ada", roles).create_join_token(request).await;
            assert_refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    }
}

#[tokio::test]
async fn no_token_outlives_the_one_that_it_was_got_with() {
    let place = Place::sqlite();
    let daemon = place.start().await;
    let mut operator = daemon.identity("user/ada", &["operator"]);
    let end = end_of_the_bearer(&place);
    let minted =
        operator.mint_token(by_token(&place, mint("worker/w", &["worker"]))).await.unwrap().into_inner();
    assert_eq!(verified(&daemon, &minted.token).await.exp, end);
    assert_eq!(minted.expire_time.unwrap().seconds, end);
}
