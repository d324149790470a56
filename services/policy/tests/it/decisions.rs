//! The record of decisions.

use nova_policy::Config;
use nova_proto::policy::v1 as pb;
use nova_proto::policy::v1::Verdict;

use crate::harness::{ENQUEUE, Policy, TRACE, decision, eventually};

fn ids(decisions: &[pb::Decision]) -> Vec<&str> {
    decisions.iter().map(|decision| decision.id.as_str()).collect()
}

#[tokio::test]
async fn what_is_reported_is_listed_newest_first() {
    let mut policy = Policy::start().await;
    let (old, new) = (decision("", Verdict::Allow, 20), decision("", Verdict::Deny, 10));
    policy.report(vec![old.clone(), new.clone()]).await.unwrap();
    let listed = policy.list(pb::ListDecisionsRequest::default()).await.decisions;
    assert_eq!(ids(&listed), ids(&[new, old]));
}

#[tokio::test]
async fn a_decision_comes_back_as_it_was_reported() {
    let mut policy = Policy::start().await;
    let mut reported = decision("", Verdict::Deny, 10);
    reported.elapsed = Some(prost_types::Duration { seconds: 0, nanos: 25_000 });
    policy.report(vec![reported.clone()]).await.unwrap();
    let listed = policy.list(pb::ListDecisionsRequest::default()).await.decisions;
    assert_eq!(listed, [reported]);
}

#[tokio::test]
async fn the_same_report_again_is_recorded_once() {
    let mut policy = Policy::start().await;
    let first = decision("", Verdict::Deny, 10);
    let report = vec![first.clone(), first.clone(), decision("", Verdict::Allow, 5)];
    policy.report(report.clone()).await.unwrap();
    policy.report(report).await.unwrap();
    assert_eq!(policy.status().await.decisions, 2);
    assert_eq!(policy.list(pb::ListDecisionsRequest::default()).await.decisions.len(), 2);
}

#[tokio::test]
async fn a_later_report_cannot_change_a_decision() {
    let mut policy = Policy::start().await;
    let denied = decision("", Verdict::Deny, 10);
    let allowed = pb::Decision { verdict: Verdict::Allow.into(), ..denied.clone() };
    policy.report(vec![denied.clone()]).await.unwrap();
    policy.report(vec![allowed]).await.unwrap();
    assert_eq!(policy.list(pb::ListDecisionsRequest::default()).await.decisions, [denied]);
}

#[tokio::test]
async fn decisions_are_found_by_verdict_and_by_trace() {
    let mut policy = Policy::start().await;
    let denied = decision("", Verdict::Deny, 30);
    let allowed = decision("", Verdict::Allow, 20);
    let elsewhere = pb::Decision { trace_id: "f".repeat(32), ..decision("", Verdict::Deny, 10) };
    policy.report(vec![denied.clone(), allowed.clone(), elsewhere.clone()]).await.unwrap();
    for (verdict, trace_id, expected) in [
        (Verdict::Deny, "", vec![&elsewhere, &denied]),
        (Verdict::Allow, "", vec![&allowed]),
        (Verdict::Unspecified, TRACE, vec![&allowed, &denied]),
        (Verdict::Deny, TRACE, vec![&denied]),
    ] {
        let request = pb::ListDecisionsRequest {
            verdict: verdict.into(),
            trace_id: trace_id.to_owned(),
            ..Default::default()
        };
        let listed = policy.list(request).await.decisions;
        assert_eq!(ids(&listed), expected.iter().map(|d| d.id.as_str()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let mut policy = Policy::start().await;
    let reported: Vec<_> = (0..1_000).map(|age| decision("", Verdict::Allow, age)).collect();
    policy.report(reported.clone()).await.unwrap();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let page =
            policy.list(pb::ListDecisionsRequest { page_size: 300, page_token, ..Default::default() }).await;
        seen.extend(page.decisions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids(&seen), ids(&reported));
}

#[tokio::test]
async fn a_full_last_page_has_no_token() {
    let mut policy = Policy::start().await;
    policy.report((0..4).map(|age| decision("", Verdict::Allow, age)).collect()).await.unwrap();
    let request = |page_token| pb::ListDecisionsRequest { page_size: 2, page_token, ..Default::default() };
    let first = policy.list(request(String::new())).await;
    let second = policy.list(request(first.next_page_token)).await;
    assert_eq!((second.decisions.len(), second.next_page_token.as_str()), (2, ""));
}

#[tokio::test]
async fn only_the_newest_are_kept() {
    let mut policy = Policy::start_with(Config { decisions_kept: 10, ..Config::default() }).await;
    let reported: Vec<_> = (0..500).map(|age| decision("", Verdict::Deny, age)).collect();
    policy.report(reported.clone()).await.unwrap();
    eventually(async || policy.status().await.decisions == 10).await;
    for request in [
        pb::ListDecisionsRequest { page_size: 100, ..Default::default() },
        pb::ListDecisionsRequest { page_size: 100, verdict: Verdict::Deny.into(), ..Default::default() },
        pb::ListDecisionsRequest { page_size: 100, trace_id: TRACE.to_owned(), ..Default::default() },
    ] {
        assert_eq!(ids(&policy.list(request).await.decisions), ids(&reported[..10]));
    }
}

#[tokio::test]
async fn decisions_and_drops_survive_a_restart() {
    let mut policy = Policy::start().await;
    let decisions = vec![decision("", Verdict::Deny, 1)];
    let request = pb::ReportDecisionsRequest { decisions, dropped: 7 };
    policy.client.report_decisions(request).await.unwrap();
    let policy = policy.restart().await;
    eventually(async || policy.status().await.decisions == 1).await;
    assert_eq!(policy.status().await.dropped, 7);
}

#[tokio::test]
async fn the_daemon_records_its_own_decisions() {
    let policy = Policy::start().await;
    let subject = nova_types::SpiffeId::parse("subject", "spiffe://nova.local/agent/orion").unwrap();
    let roles = ["agent".to_owned()];
    let question = nova_rpc::Question {
        subject: Some(&subject),
        roles: &roles,
        credential: nova_rpc::Credential::Certificate,
        service: "policy",
        method: ENQUEUE,
    };
    let decision = nova_rpc::Authorizer::authorize(policy.server.runtime.policy(), &question);
    let nova_rpc::Decision::Deny(id) = decision else { panic!("{decision:?}") };
    eventually(async || {
        let listed = policy.list(pb::ListDecisionsRequest::default()).await.decisions;
        ids(&listed) == [id.to_string()]
    })
    .await;
}

#[tokio::test]
async fn a_check_is_not_recorded() {
    let mut policy = Policy::start().await;
    let decision = policy.check("agent", ENQUEUE).await;
    assert_eq!((decision.verdict(), decision.id.as_str()), (Verdict::Deny, ""));
    assert!(decision.why.contains("with the roles agent may not call"), "{}", decision.why);
    assert_eq!(policy.status().await.decisions, 0);
}
