//! The same daemon with its state in Redis.

use nova_policy::Config;
use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::Verdict;
use nova_testkit::redis::RedisServer;

use crate::harness::{ENQUEUE, Policy, TRACE, decision, eventually};

#[tokio::test]
async fn a_change_by_one_instance_is_in_force_in_the_other() {
    let redis = RedisServer::start();
    let mut one = Policy::start_on(&redis.url(), Config::default()).await;
    let mut two = Policy::start_on(&redis.url(), Config::default()).await;
    let revision = one.put("extra.rego", "package extra\nx := 1").await.unwrap();
    eventually(async || two.status().await.revision == revision).await;
    assert!(two.allows("worker", ENQUEUE).await);
}

#[tokio::test]
async fn decisions_are_recorded_listed_and_explained() {
    let redis = RedisServer::start();
    let mut policy = Policy::start_on(&redis.url(), Config { decisions_kept: 10, ..Config::default() }).await;
    let revision = policy.status().await.revision;
    let reported: Vec<_> = (0..40).map(|age| decision(&revision, Verdict::Deny, age)).collect();
    policy.report(reported.clone()).await.unwrap();
    policy.report(reported.clone()).await.unwrap();
    eventually(async || policy.status().await.decisions == 10).await;
    let request = pb::ListDecisionsRequest {
        verdict: Verdict::Deny.into(),
        trace_id: TRACE.to_owned(),
        ..Default::default()
    };
    assert_eq!(policy.list(request).await.decisions, reported[..10]);
    let explain = pb::ExplainRequest { decision_id: reported[0].id.clone() };
    assert!(policy.client.explain(explain).await.unwrap().into_inner().remedy.contains("lifecycle"));
}
